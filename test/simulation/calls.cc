#include "simulation/calls.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <utility>

#include "simulation/kernel/epoll.h"
#include "simulation/world.h"

namespace weir::sim::calls {
namespace {

World& Begin() {
  World& world = World::Current();
  world.BeginCall();
  return world;
}

// What fails while a server is set up fails for want of memory or descriptors.
int SetUpFailure(World& world) {
  if (!world.faults.Strikes(Fault::kSetUpFails)) return 0;
  return -world.faults.OneOf({ENOMEM, EMFILE, ENFILE, ENOBUFS});
}

// What the network does to a connection, found by the call that comes next.
void MakeTrouble(World& world, sim::Socket& socket) {
  Faults& faults = world.faults;
  int error = 0;
  if (faults.Strikes(Fault::kReset)) error = ECONNRESET;
  if (faults.Strikes(Fault::kNetworkError)) {
    error = faults.OneOf({ETIMEDOUT, EHOSTUNREACH, ENETUNREACH});
  }
  if (error != 0) socket.Break(error);
  const bool is_soft = faults.Strikes(Fault::kSoftError);
  if (is_soft) socket.OnSoftError(faults.OneOf({EHOSTUNREACH, EPROTO}));
  if ((error != 0 || is_soft) && world.judge != nullptr) world.judge->OnBroken(socket);
}

// The server cannot but end this connection.
void NoteBroken(World& world, int fd) {
  sim::Socket* const socket = world.server.FindSocket(fd);
  if (socket != nullptr && world.judge != nullptr) world.judge->OnBroken(*socket);
}

std::string EventText(std::uint32_t bits) {
  static constexpr std::pair<std::uint32_t, const char*> kNames[] = {
      {EPOLLIN, "IN"},   {EPOLLOUT, "OUT"}, {EPOLLPRI, "PRI"},
      {EPOLLERR, "ERR"}, {EPOLLHUP, "HUP"}, {EPOLLRDHUP, "RDHUP"},
  };
  std::string text;
  for (const auto& [bit, name] : kNames) {
    if ((bits & bit) == 0) continue;
    if (!text.empty()) text += '|';
    text += name;
  }
  return text;
}

}  // namespace

// ---- Sockets

int Socket(int domain, int type, int protocol) noexcept {
  World& world = Begin();
  if (const int failure = SetUpFailure(world); failure < 0) return failure;
  const int fd = world.server.Socket(domain, type, protocol);
  world.Trace("socket() = {}", fd);
  return fd;
}

int Bind(int fd, const void* address, socklen_t size) noexcept {
  World& world = Begin();
  if (const int failure = SetUpFailure(world); failure < 0) return failure;
  return world.server.Bind(fd, address, size);
}

int Listen(int fd, int backlog) noexcept {
  World& world = Begin();
  if (const int failure = SetUpFailure(world); failure < 0) return failure;
  return world.server.Listen(fd, backlog);
}

int Accept(int fd, void* address, socklen_t* size) noexcept {
  World& world = Begin();
  int result = 0;
  sim::Socket* const listener = world.server.FindSocket(fd);
  if (world.faults.Strikes(Fault::kAcceptStarved)) {
    result = -world.faults.OneOf({EMFILE, ENFILE, ENOBUFS, ENOMEM});
  } else if (listener != nullptr && listener->Queued() > 0 &&
             world.faults.Strikes(Fault::kAcceptPassing)) {
    result = -world.faults.OneOf({ECONNABORTED, EPROTO, EPERM, ENOPROTOOPT, EOPNOTSUPP, ENETDOWN,
                                  ENETUNREACH, EHOSTDOWN, EHOSTUNREACH, ENONET, ETIMEDOUT});
    listener->TakeClient()->OnReleased();  // the client is told by a reset, or by the end
  } else {
    result = world.server.Accept(fd, address, size);
  }
  if (sim::Socket* const client = world.server.FindSocket(result);
      client != nullptr && world.faults.Has(Fault::kMessageBoundaries)) {
    client->StopAtMessages();
  }
  world.Trace("accept({}) = {}", fd, result);
  return result;
}

int Connect(int fd, const void* address, socklen_t size) noexcept {
  return Begin().server.Connect(fd, address, size);
}

ssize_t Recv(int fd, void* room, std::size_t size) noexcept {
  World& world = Begin();
  sim::Socket* const socket = world.server.FindSocket(fd);
  if (socket == nullptr) return -EBADF;
  Faults& faults = world.faults;
  if (faults.Strikes(Fault::kInterrupted)) return -EINTR;
  MakeTrouble(world, *socket);
  // What FIONREAD has counted is there: it does not arrive just after this call.
  const bool is_known = socket->told > 0;
  const bool is_in_parts = socket->family() == AF_UNIX || !is_known;
  ssize_t result = 0;
  if (faults.Strikes(Fault::kNothingYet) && !is_known) {
    result = -EAGAIN;
    if (socket->HasNews()) socket->Wake(0);
  } else if (size > 1 && faults.Strikes(Fault::kShortReceive) && is_in_parts) {
    const std::size_t part = world.choices.Between(Stream::kFaults, 1, 64);
    result = socket->Receive(static_cast<char*>(room), std::min(size, part));
    // On TCP the rest has arrived just after: there is an edge. On AF_UNIX there is none.
    if (socket->family() != AF_UNIX && socket->HasNews()) socket->Wake(0);
  } else {
    result = socket->Receive(static_cast<char*>(room), size);
  }
  if (result > 0) socket->told -= std::min(socket->told, static_cast<std::size_t>(result));
  world.Trace("recv({}, {}) = {}", fd, size, result);
  if (world.judge != nullptr) {
    world.judge->OnReceived(*socket, result > 0 ? static_cast<std::size_t>(result) : 0);
  }
  return result;
}

ssize_t SendMessage(int fd, const iovec* pieces, std::size_t count) noexcept {
  World& world = Begin();
  sim::Socket* const socket = world.server.FindSocket(fd);
  if (socket == nullptr) return -EBADF;
  std::string bytes;
  for (std::size_t i = 0; i < count; ++i) {
    bytes.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  }
  Faults& faults = world.faults;
  if (faults.Strikes(Fault::kInterrupted)) return -EINTR;
  MakeTrouble(world, *socket);
  ssize_t result = 0;
  std::size_t part = bytes.size();
  bool was_cut = false;
  if (faults.Strikes(Fault::kNoBuffers)) {
    result = -faults.OneOf({ENOBUFS, ENOMEM});
  } else if (socket->HasRoom() && faults.Strikes(Fault::kNoRoom)) {
    part = 0;
    was_cut = true;
    result = -EAGAIN;
  } else if (bytes.size() > 1 && faults.Strikes(Fault::kShortSend)) {
    part = world.choices.Between(Stream::kFaults, 1, 64);
    was_cut = part < bytes.size();
  }
  if (result == 0) result = socket->Send(std::string_view(bytes).substr(0, part));
  if (was_cut) {
    socket->NoteNoRoom();
    world.OweRoom(*socket);
  }
  world.Trace("send({}, {}) = {}", fd, bytes.size(), result);
  return result;
}

ssize_t Send(int fd, const void* bytes, std::size_t size) noexcept {
  const iovec piece{.iov_base = const_cast<void*>(bytes), .iov_len = size};
  return SendMessage(fd, &piece, 1);
}

int Shutdown(int fd, int how) noexcept {
  World& world = Begin();
  const int result = world.server.Shutdown(fd, how);
  world.Trace("shutdown({}, {}) = {}", fd, how, result);
  return result;
}

int SetOption(int fd, int level, int name, const void* value, socklen_t size) noexcept {
  return Begin().server.SetOption(fd, level, name, value, size);
}

int GetOption(int fd, int level, int name, void* value, socklen_t* size) noexcept {
  return Begin().server.GetOption(fd, level, name, value, size);
}

int GetSocketName(int fd, void* address, socklen_t* size) noexcept {
  return Begin().server.GetSocketName(fd, address, size);
}

int GetPeerName(int fd, void* address, socklen_t* size) noexcept {
  return Begin().server.GetPeerName(fd, address, size);
}

int UnreadBytes(int fd, int* count) noexcept {
  World& world = Begin();
  const int result = world.server.UnreadBytes(fd, count);
  sim::Socket* const socket = world.server.FindSocket(fd);
  if (result == 0 && socket != nullptr) socket->told = static_cast<std::size_t>(*count);
  world.Trace("ioctl({}, FIONREAD) = {}", fd, result == 0 ? *count : result);
  return result;
}

int AtUrgentMark(int fd) noexcept {
  World& world = Begin();
  const int result = world.server.AtUrgentMark(fd);
  sim::Socket* const socket = world.server.FindSocket(fd);
  // Who asks reads on past it, until there is nothing.
  if (result == 1) socket->told = socket->Arrived();
  world.Trace("ioctl({}, SIOCATMARK) = {}", fd, result);
  return result;
}

// ---- Any descriptor

ssize_t Read(int fd, void* room, std::size_t size) noexcept {
  return Begin().server.Read(fd, room, size);
}

int Close(int fd) noexcept {
  World& world = Begin();
  const int result = world.server.Close(fd);
  world.Trace("close({}) = {}", fd, result);
  if (result < 0) world.Find("bad close: descriptor {} is not open", fd);
  return result;
}

int SetNonBlockingAndCloseOnExec(int fd) noexcept {
  return Begin().server.Find(fd) == nullptr ? -EBADF : 0;
}

// ---- Waiting and waking

int EpollCreate() noexcept {
  World& world = Begin();
  const int failure = SetUpFailure(world);
  return failure < 0 ? failure : world.server.EpollCreate();
}

int EpollControl(int epoll, int operation, int fd, std::uint32_t events,
                 std::uint64_t data) noexcept {
  World& world = Begin();
  int result = 0;
  if (operation == EPOLL_CTL_ADD && world.faults.Strikes(Fault::kAddFails)) {
    result = -world.faults.OneOf({ENOMEM, ENOSPC});
    NoteBroken(world, fd);
  } else if (operation == EPOLL_CTL_MOD && world.faults.Strikes(Fault::kModifyFails)) {
    result = -ENOMEM;
    NoteBroken(world, fd);
  } else {
    result = world.server.EpollControl(epoll, operation, fd, events, data);
  }
  if (operation == EPOLL_CTL_ADD && result == 0) world.registered.push_back(data);
  world.Trace("epoll_ctl({}, {}, {}, {}, {:#x}) = {}", epoll,
              operation == EPOLL_CTL_ADD   ? "ADD"
              : operation == EPOLL_CTL_MOD ? "MOD"
                                           : "DEL",
              fd, EventText(events), data, result);
  return result;
}

namespace {

// Blocks as a thread does, until there is something to look at.
void Sleep(World& world, Epoll& epoll, Clock::time_point deadline) {
  epoll.is_waited_on = true;
  world.scheduler.SleepUntil([&] { return epoll.HasReady(); }, deadline);
  epoll.is_waited_on = false;
}

// What the kernel had no cause to say.
int AddFalseEvents(World& world, const Epoll& epoll, epoll_event* events, int count, int capacity) {
  static constexpr std::uint32_t kBits[] = {
      EPOLLIN,  EPOLLIN | EPOLLOUT,           EPOLLIN | EPOLLRDHUP, EPOLLIN | EPOLLRDHUP | EPOLLHUP,
      EPOLLOUT, EPOLLHUP | EPOLLERR | EPOLLIN};
  Faults& faults = world.faults;
  if (count < capacity && faults.Strikes(Fault::kSpuriousEvent)) {
    const std::vector<std::unique_ptr<Watch>>& watches = epoll.watches_here();
    if (!watches.empty()) {
      const auto many = static_cast<std::uint32_t>(watches.size());
      const Watch& watch = *watches[world.choices.Below(Stream::kFaults, many)];
      // Readable, or writable: the end of a stream is never told falsely.
      const std::uint32_t bit = world.choices.OneIn(Stream::kFaults, 3) ? EPOLLOUT : EPOLLIN;
      if ((watch.events & bit) != 0) {
        events[count].events = bit;
        events[count++].data.u64 = watch.data;
      }
    }
  }
  if (count < capacity && !world.registered.empty() && faults.Strikes(Fault::kStaleEvent)) {
    const auto many = static_cast<std::uint32_t>(world.registered.size());
    const std::uint64_t data = world.registered[world.choices.Below(Stream::kFaults, many)];
    const bool is_gone = std::none_of(epoll.watches_here().begin(), epoll.watches_here().end(),
                                      [&](const auto& watch) { return watch->data == data; });
    if (is_gone) {
      events[count].events = kBits[world.choices.Below(Stream::kFaults, std::size(kBits))];
      events[count++].data.u64 = data;
    }
  }
  return count;
}

}  // namespace

int EpollWait(int fd, epoll_event* events, int capacity, int timeout_ms) noexcept {
  World& world = Begin();
  Epoll* const epoll = world.server.FindEpoll(fd);
  if (epoll == nullptr) return -EBADF;
  ++world.tally.turns;
  if (world.judge != nullptr) world.judge->OnWait(fd, timeout_ms);
  Faults& faults = world.faults;
  if (faults.Strikes(Fault::kInterruptedWait)) return 0;
  const Clock::time_point deadline =
      timeout_ms < 0 ? kNever : world.scheduler.now() + std::chrono::milliseconds(timeout_ms);
  int count = 0;
  for (;;) {
    if (faults.Strikes(Fault::kOtherOrder)) {
      epoll->Rotate(world.choices.Below(Stream::kFaults, 8));
    }
    const bool few = capacity > 1 && faults.Strikes(Fault::kFewEvents);
    const int most =
        few ? static_cast<int>(world.choices.Between(Stream::kFaults, 1, 2)) : capacity;
    count = world.server.EpollWait(fd, events, std::min(most, capacity));
    if (count != 0 || timeout_ms == 0) break;
    if (world.scheduler.now() >= deadline) break;
    Sleep(world, *epoll, deadline);
  }
  if (count < 0) return count;
  count = AddFalseEvents(world, *epoll, events, count, capacity);
  world.Trace("epoll_wait({}, {} ms) = {}", fd, timeout_ms, count);
  for (int i = 0; i < count; ++i) {
    world.Trace("    {:#x} {}", std::uint64_t{events[i].data.u64}, EventText(events[i].events));
  }
  return count;
}

int EventFd() noexcept {
  World& world = Begin();
  const int failure = SetUpFailure(world);
  return failure < 0 ? failure : world.server.EventFd();
}

int WriteEventFd(int fd) noexcept {
  World& world = Begin();
  const int result = world.server.WriteEventFd(fd);
  world.Trace("write(eventfd {}) = {}", fd, result);
  return result;
}

// ---- Signals, files, interfaces

int SignalFd(const sigset_t*) noexcept { return -ENOSYS; }

int SignalMask(int, const sigset_t*, sigset_t*) noexcept { return 0; }

int OpenToRead(const char*) noexcept { return -ENOENT; }

std::size_t PhysicalMemory() noexcept { return std::size_t{1} << 30; }

int Unlink(const char* path) noexcept { return Begin().server.Unlink(path); }

int Chmod(const char*, mode_t) noexcept { return 0; }

int LStat(const char* path, struct stat* status) noexcept {
  return Begin().server.LStat(path, status);
}

int InterfaceIndex(const char*) noexcept { return -ENODEV; }

int InterfaceName(unsigned, char*) noexcept { return -ENXIO; }

// ---- Time

Clock::time_point Now() noexcept { return World::Current().scheduler.now(); }

void Yield(Point) noexcept { World::Current().scheduler.MaybeYield(); }

// ---- Threads

Thread::Thread(Thread&& other) noexcept : fiber_(std::exchange(other.fiber_, nullptr)) {}

Thread& Thread::operator=(Thread&& other) noexcept {
  if (joinable()) std::terminate();
  fiber_ = std::exchange(other.fiber_, nullptr);
  return *this;
}

Thread::~Thread() {
  if (joinable()) std::terminate();
}

void Thread::join() {
  Fiber& fiber = *fiber_;
  World::Current().scheduler.SleepUntil([&] { return fiber.IsDone(); }, kNever);
  fiber_ = nullptr;
}

void Mutex::lock() {
  if (locked_) World::Current().scheduler.SleepUntil([this] { return !locked_; }, kNever);
  locked_ = true;
}

void Condition::WaitFor(std::uint64_t seen) const {
  World::Current().scheduler.SleepUntil([&] { return times_ != seen; }, kNever);
}

int StartThread(Thread& thread, Work work) noexcept {
  World& world = Begin();
  if (world.faults.Strikes(Fault::kSetUpFails)) return -EAGAIN;
  thread = Thread(world.scheduler.Start(std::move(work)));
  return 0;
}

const void* CurrentThread() noexcept { return World::Current().scheduler.current(); }

void*& ThreadSlot() noexcept {
  static void* outside = nullptr;
  Fiber* const fiber = World::Current().scheduler.current();
  return fiber != nullptr ? fiber->slot : outside;
}

std::vector<int> AllowedCpus() { return {0, 1, 2, 3}; }

int SetAllowedCpus(const std::vector<int>&) { return 0; }

}  // namespace weir::sim::calls
