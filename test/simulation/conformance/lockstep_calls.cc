// The calls that a script makes, each in both worlds.

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>

#include <array>
#include <cstring>

#include "simulation/conformance/lockstep.h"
#include "simulation/conformance/text.h"

namespace weir::sim::conformance {
namespace {

Address Loopback() {
  sockaddr_in ip{};
  ip.sin_family = AF_INET;
  ip.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  Address address;
  std::memcpy(&address.raw, &ip, sizeof ip);
  address.size = sizeof ip;
  return address;
}

Address NameIn(World& world, int fd) {
  Address address;
  if (world.GetSocketName(fd, &address) < 0) throw std::logic_error("no socket name");
  return address;
}

std::string Numbered(std::string_view name, int number) {
  return std::string(name) + (number > 1 ? std::to_string(number) : std::string());
}

void Demand(const std::string& result, std::string_view wanted, std::string_view what) {
  if (result != wanted) throw std::logic_error(std::string(what) + ": " + result);
}

int Demand(int fd, std::string_view what) {
  if (fd < 0) throw std::logic_error(std::string(what) + ": " + ResultText(fd));
  return fd;
}

}  // namespace

// ---- What most scripts begin with

int Lockstep::Socket(Family family) {
  const bool is_tcp = family == Family::kTcp;
  return Demand(
      BothOpen(is_tcp ? "Socket(tcp)" : "Socket(unix)", is_tcp ? Kind::kTcp : Kind::kUnix, "socket",
               [&](World& world) { return world.Socket(is_tcp ? AF_INET : AF_UNIX); }),
      "socket");
}

int Lockstep::Listener(Family family, int backlog) {
  const std::string name = Numbered("listener", ++listeners_);
  const int listener = Socket(family);
  Name(listener, name);
  Demand(Bind(listener, family == Family::kTcp ? "" : "@" + name), "0", "bind");
  Demand(Listen(listener, backlog), "0", "listen");
  return listener;
}

Pair Lockstep::Connected(int listener) {
  const bool is_tcp = open_.at(listener) == Kind::kTcp;
  ++pairs_;
  const int client = Socket(is_tcp ? Family::kTcp : Family::kUnix);
  Name(client, Numbered("client", pairs_));
  Demand(Connect(client, listener), is_tcp ? "EINPROGRESS" : "0", "connect");
  const int server = Demand(Accept(listener), "accept");
  Name(server, Numbered("server", pairs_));
  return {.client = client, .server = server};
}

Pair Lockstep::Connected(Family family) {
  const int listener = Listener(family);
  const Pair pair = Connected(listener);
  Demand(Close(listener), "0", "close");
  return pair;
}

int Lockstep::Epoll() {
  return Demand(BothOpen("EpollCreate()", Kind::kEpoll, "epoll",
                         [](World& world) { return world.EpollCreate(); }),
                "epoll");
}

int Lockstep::EventFd() {
  return Demand(BothOpen("EventFd()", Kind::kEventFd, "eventfd",
                         [](World& world) { return world.EventFd(); }),
                "eventfd");
}

// ---- The calls

std::string Lockstep::Bind(int fd, std::string_view name) {
  return BothCount("Bind(" + NameOf(fd) + ", " + std::string(name) + ")", [&](World& world) {
    return world.Bind(fd, name.empty() ? Loopback() : world.UnixAddress(name));
  });
}

std::string Lockstep::BindLike(int fd, int bound) {
  return BothCount("Bind(" + NameOf(fd) + ", as " + NameOf(bound) + ")",
                   [&](World& world) { return world.Bind(fd, NameIn(world, bound)); });
}

std::string Lockstep::Listen(int fd, int backlog) {
  return BothCount("Listen(" + NameOf(fd) + ", " + std::to_string(backlog) + ")",
                   [&](World& world) { return world.Listen(fd, backlog); });
}

int Lockstep::Accept(int fd) {
  const auto found = open_.find(fd);
  const Kind kind = found == open_.end() ? Kind::kTcp : found->second;
  return BothOpen("Accept(" + NameOf(fd) + ")", kind, "accepted", [&](World& world) {
    Address peer;
    return world.Accept(fd, &peer);
  });
}

std::string Lockstep::Connect(int fd, int bound) {
  return BothCount("Connect(" + NameOf(fd) + ", " + NameOf(bound) + ")",
                   [&](World& world) { return world.Connect(fd, NameIn(world, bound)); });
}

std::string Lockstep::ConnectTo(int fd, std::string_view name) {
  return BothCount("Connect(" + NameOf(fd) + ", " + std::string(name) + ")",
                   [&](World& world) { return world.Connect(fd, world.UnixAddress(name)); });
}

std::string Lockstep::Recv(int fd, std::size_t most) {
  return Both("Recv(" + NameOf(fd) + ", " + std::to_string(most) + ")", [&](World& world) {
    std::string room(most, '\0');
    const long count = world.Recv(fd, room);
    return count < 0 ? ResultText(count)
                     : Quoted(std::string_view(room).substr(0, static_cast<std::size_t>(count)));
  });
}

std::string Lockstep::Send(int fd, std::string_view bytes) {
  return BothCount("Send(" + NameOf(fd) + ", " + Quoted(bytes) + ")",
                   [&](World& world) { return world.Send(fd, bytes); });
}

std::string Lockstep::SendMessage(int fd, std::vector<std::string_view> pieces) {
  std::string what = "SendMessage(" + NameOf(fd);
  for (const std::string_view piece : pieces) what += ", " + Quoted(piece);
  return BothCount(what + ")", [&](World& world) { return world.SendMessage(fd, pieces); });
}

std::string Lockstep::SendUrgent(int fd, std::string_view bytes) {
  return BothCount("SendUrgent(" + NameOf(fd) + ", " + Quoted(bytes) + ")",
                   [&](World& world) { return world.SendUrgent(fd, bytes); });
}

std::string Lockstep::Shutdown(int fd, int how) {
  constexpr std::array kNames{"RD", "WR", "RDWR"};
  return BothCount("Shutdown(" + NameOf(fd) + ", " + kNames.at(static_cast<std::size_t>(how)) + ")",
                   [&](World& world) { return world.Shutdown(fd, how); });
}

std::string Lockstep::Set(int fd, int option, int value) {
  const std::string what =
      "SetOption(" + NameOf(fd) + ", " + std::to_string(option) + ", " + std::to_string(value);
  return BothCount(what + ")",
                   [&](World& world) { return world.SetOption(fd, option, &value, sizeof value); });
}

std::string Lockstep::LingerNot(int fd) {
  const linger how{.l_onoff = 1, .l_linger = 0};
  return BothCount("LingerNot(" + NameOf(fd) + ")",
                   [&](World& world) { return world.SetOption(fd, SO_LINGER, &how, sizeof how); });
}

std::string Lockstep::DropSyns(int fd) {
  constexpr std::uint32_t kFlags = 13;
  constexpr std::uint32_t kSyn = 0x02;
  constexpr std::uint32_t kAck = 0x10;
  std::array<sock_filter, 5> code{{
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kFlags),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, kSyn | kAck),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kSyn, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
  }};
  const sock_fprog program{.len = code.size(), .filter = code.data()};
  return BothCount("DropSyns(" + NameOf(fd) + ")", [&](World& world) {
    return world.SetOption(fd, SO_ATTACH_FILTER, &program, sizeof program);
  });
}

std::string Lockstep::Error(int fd) {
  return Both("Error(" + NameOf(fd) + ")", [&](World& world) {
    int error = 0;
    const long result = world.GetOption(fd, SOL_SOCKET, SO_ERROR, &error, sizeof error);
    return result < 0 ? ResultText(result) : ResultText(-error);
  });
}

std::string Lockstep::Unread(int fd) {
  return Both("Unread(" + NameOf(fd) + ")", [&](World& world) {
    int count = 0;
    const long result = world.UnreadBytes(fd, &count);
    return ResultText(result < 0 ? result : count);
  });
}

std::string Lockstep::Close(int fd) {
  open_.erase(fd);
  return BothCount("Close(" + NameOf(fd) + ")", [&](World& world) { return world.Close(fd); });
}

int Lockstep::Dup(int fd) {
  const auto found = open_.find(fd);
  const Kind kind = found == open_.end() ? Kind::kEpoll : found->second;
  return BothOpen("Dup(" + NameOf(fd) + ")", kind, NameOf(fd) + "'",
                  [&](World& world) { return world.Dup(fd); });
}

void Lockstep::SetLimit(int end) {
  Both("SetLimit(" + std::to_string(end) + ")", [&](World& world) {
    world.SetLimit(end);
    return std::string("done");
  });
}

std::string Lockstep::Unlink(std::string_view name) {
  return BothCount("Unlink(" + std::string(name) + ")",
                   [&](World& world) { return world.Unlink(name); });
}

std::string Lockstep::ReadEventFd(int fd) {
  return Both("ReadEventFd(" + NameOf(fd) + ")", [&](World& world) {
    std::uint64_t count = 0;
    std::array<char, sizeof count> room{};
    const long result = world.Read(fd, room);
    std::memcpy(&count, room.data(), sizeof count);
    return result < 0 ? ResultText(result) : std::to_string(count);
  });
}

std::string Lockstep::WriteEventFd(int fd) {
  return BothCount("WriteEventFd(" + NameOf(fd) + ")",
                   [&](World& world) { return world.WriteEventFd(fd); });
}

std::string Lockstep::Poll(int fd) {
  return Both("Poll(" + NameOf(fd) + ")", [&](World& world) { return EventNames(world.Poll(fd)); });
}

std::string Lockstep::PeerOf(const Pair& pair) {
  return Both("PeerOf(" + NameOf(pair.server) + ")", [&](World& world) {
    Address peer;
    const long result = world.GetPeerName(pair.server, &peer);
    if (result < 0) return ResultText(result);
    const Address client = NameIn(world, pair.client);
    const bool is_same =
        client.size == peer.size && std::memcmp(&client.raw, &peer.raw, peer.size) == 0;
    return std::string(peer.raw.ss_family == AF_UNIX ? "unix" : "tcp") +
           (is_same ? ", the client" : ", another");
  });
}

std::string Lockstep::Watch(int epoll, int fd, std::uint32_t events, std::string_view name) {
  return Control(EPOLL_CTL_ADD, epoll, fd, events, name);
}

std::string Lockstep::Modify(int epoll, int fd, std::uint32_t events, std::string_view name) {
  return Control(EPOLL_CTL_MOD, epoll, fd, events, name);
}

std::string Lockstep::Unwatch(int epoll, int fd) {
  return Control(EPOLL_CTL_DEL, epoll, fd, 0, {});
}

}  // namespace weir::sim::conformance
