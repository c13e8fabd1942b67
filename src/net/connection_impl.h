// The connection, as the loop sees it. Its code is in four files, by what they know:
//
//     connection.cc         its life: open, close, retire; no byte is moved there
//     connection_read.cc    how it reads, when epoll says a thing only once
//     connection_write.cc   how it writes, when the kernel may take a part
//     connection_time.cc    how long all that may take
//
// OWNER     The loop's table (data/slab.h), which re-uses the object for the slot's next owner.
// THREADS   The loop's thread.
// ERRORS    Nothing here throws, and what callbacks throw is caught here.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "data/output_queue.h"
#include "data/ring_buffer.h"
#include "data/timer_wheel.h"
#include "data/token.h"
#include "net/peer_address.h"
#include "net/wire.h"
#include "os/poller.h"
#include "weir/connection.h"
#include "weir/handler.h"
#include "weir/options.h"

namespace weir {

struct LoopCore;
struct ConnectionCold;
struct ConnectionExtension;

// See the table in docs/architecture.md.
enum class State : std::uint8_t {
  kFree,       // the slot has no owner
  kOpen,       // callbacks come
  kClosing,    // closed by us: queued output goes on, input is discarded
  kLingering,  // FIN sent, OnClose due or done: waiting for the peer's end
  kDead,       // OnClose due or done: the descriptor closes, the slot is freed
};

// One cache line: what every event touches. All else is in ConnectionCold.
class alignas(64) ConnectionImpl final : public Connection {
 public:
  Token token;  // the table's

  // ---- Life (connection.cc)

  struct Socket {
    int fd;
    Wire* wire;
    Handler* handler;
    int listener;
    PeerAddress peer;
  };
  // Gives the slot its owner, and calls OnOpen.
  void Open(LoopCore& loop, const Socket& socket);
  void Close(CloseReason reason);
  void CloseLocally();
  void AbortLocally();
  void Abort(CloseReason reason);
  void Drain();   // read what had arrived, deliver it, close
  void Retire();  // its turn of the retire list: OnClose, and freeing what can be freed
  // The loop is destroyed: no handler is called. `reset` is false in a forked child, whose
  // descriptors are the parent's too.
  void Discard(bool reset) noexcept;

  void SetHandler(Handler& handler);

  // ---- Reading (connection_read.cc)

  void OnEdge(Edge edge);  // connection_straight.h
  // `spent`: bytes that it has had in this turn. Returns how many more.
  std::size_t ServeOwed(std::size_t spent);
  [[nodiscard]] std::string_view Input() const noexcept;
  [[nodiscard]] std::size_t Scanned() const noexcept;
  void Consume(std::size_t count);
  void NeedAtLeast(std::size_t count);
  void PauseRead() noexcept;
  void ResumeRead();
  void ResumeAfterMemory();  // LoopCore::held
  void Wake();               // REQUIRES: open, and outside its callbacks

  // ---- Writing (connection_write.cc)

  bool Write(std::string_view bytes);
  bool Writev(std::span<const std::string_view> pieces);
  bool WriteOwned(std::string bytes);
  bool WriteShared(OutputQueue::Shared bytes);
  [[nodiscard]] std::span<char> Reserve(std::size_t count);
  void Commit(std::size_t count);
  void SetFlush(Flush flush);
  void FlushNow();
  void FlushDirty();  // its turn of the dirty list
  void ShutdownWrite();
  [[nodiscard]] std::size_t Pending() const noexcept;
  [[nodiscard]] bool Congested() const noexcept { return Has(kCongested); }
  void SetWatermarks(std::size_t high, std::size_t low);

  // ---- Time (connection_time.cc)

  void OnTimer();
  void SetIdleTimeout(Duration timeout);
  void SetReadDeadline(Clock::time_point deadline);
  void SetWriteDeadline(Clock::time_point deadline);

  // ---- Facts

  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] int fd() const noexcept { return fd_; }
  // Bytes of memory in its buffers.
  [[nodiscard]] std::size_t HeldInput() const noexcept { return inbound_.capacity(); }
  [[nodiscard]] std::size_t HeldOutput() const noexcept { return outbound_.held(); }
  [[nodiscard]] LoopCore& loop() const noexcept { return *loop_; }
  [[nodiscard]] Wire& wire() const noexcept;
  [[nodiscard]] ConnectionCold& Cold() const noexcept;
  [[nodiscard]] ConnRef Ref() const noexcept;

  // ---- Context (connection_context.cc)

  using Connection::ContextType;
  void* NewContextRoom(const ContextType& type);
  void FreeContextRoom(const ContextType& type, void* context) noexcept;
  void SetContext(const ContextType& type, void* context) noexcept;
  void DestroyContext() noexcept;
  [[nodiscard]] void* FindContext(const ContextType& type) const noexcept;

 private:
  static const ContextType* TypeOfContext(const void* context) noexcept;

  enum Flag : std::uint32_t {
    kPaused = 1 << 0,     // by the user
    kReadable = 1 << 1,   // the kernel may have bytes, or the end, that no edge will announce again
    kVoidProof = 1 << 2,  // sticky: after RDHUP, HUP, ERR or PRI a short receive proves nothing, on
                          // AF_UNIX never
    kErrorEdge = 1 << 3,  // ERR was reported
    kEnded = 1 << 4,      // the peer's FIN was read
    kRedeliver = 1 << 5,  // OnData is due for what Input() holds
    kDraining = 1 << 6,   // closes when what had arrived at Stop is delivered
    kRegistered = 1 << 7,  // in epoll
    kWriteArmed = 1 << 8,  // EPOLLOUT is asked for
    kBlocked = 1 << 9,     // the socket is full: no send before the OUT edge
    kFinWanted = 1 << 10,  // ShutdownWrite() or Close(): FIN goes out behind the output
    kFinSent = 1 << 11,
    kSendFailed = 1 << 12,  // output is lost; what the peer had sent is still delivered
    kOwed = 1 << 13,        // stands in the list of that name; the next two likewise
    kDirty = 1 << 14,
    kRetiring = 1 << 15,
    kClosed = 1 << 16,      // OnClose has run
    kReset = 1 << 17,       // the descriptor closes with RST
    kBatch = 1 << 18,       // Flush::kBatch
    kCongested = 1 << 19,   // went above high_water, and OnDrain has not come
    kDrainDue = 1 << 20,    // OnDrain comes from the owed list
    kAutoPaused = 1 << 21,  // not read while it is congested: Options::auto_pause
    kTimed = 1 << 22,       // somebody wants to know when a byte moved
    kExtended = 1 << 23,    // has a ConnectionExtension
    kNotOpen = 1 << 24,     // state_ is another than kOpen
    kNeeds = 1 << 25,       // need_ is not 0
    kNewHandler = 1 << 26,  // set by the OnData that runs: it has seen nothing yet
    kIdleTold = 1 << 27,    // OnTimeout has told that nothing moves: no timer for that runs
    kOwesLater = 1 << 28,   // enters the owed list when this visit is over, with all it has spent

    // What takes an edge, the output of a callback, or a write off the straight path.
    kOffStraightRead = kPaused | kAutoPaused | kReadable | kVoidProof | kErrorEdge | kEnded |
                       kRedeliver | kDraining | kSendFailed | kOwed | kNotOpen | kNeeds | kIdleTold,
    kOffStraightSend =
        kBlocked | kFinWanted | kSendFailed | kDirty | kCongested | kNotOpen | kNewHandler,
    kOffStraightWrite = kFinWanted | kSendFailed | kBatch | kExtended | kNotOpen,
  };

  [[nodiscard]] bool Has(std::uint32_t flags) const noexcept { return (flags_ & flags) != 0; }
  void Set(std::uint32_t flags) noexcept { flags_ |= flags; }
  void Clear(std::uint32_t flags) noexcept { flags_ &= ~flags; }
  [[nodiscard]] int Error() const noexcept { return error_; }
  void SetError(int error) noexcept { error_ = static_cast<std::uint8_t>(error); }

  // Calls the handler, catches what it throws, and sends what was staged meanwhile.
  template <class Body>
  void InCallback(Body&& body);
  void AfterCallback();
  [[nodiscard]] bool IsInCallback() const noexcept;  // it owns the staging buffer
  void OnException() noexcept;

  void Register();
  void Fail(int error);
  void Die(CloseReason reason, int error);
  void Settle();  // all output is with the kernel: what was waiting for that
  void Release() noexcept;
  void Owe();
  void Owe(std::size_t spent);  // bytes that it has had in this turn
  void EnterRetire();

  void BeginVisit(std::size_t spent) noexcept;
  void EndVisit();
  void OnAnyEdge(Edge edge);
  void ReadStraight();
  void OnNothingStraight(Transfer got);
  void ReadOnce();
  void ReadNothing();
  [[nodiscard]] std::span<char> ReceiveRoom();
  void OnNothingReceived(Transfer got);
  void OnPeerEnd();
  void OnReceived(std::string_view bytes, bool in_ring);
  void DeliverRing();
  [[nodiscard]] bool IsHeld() const noexcept;
  void Deliver(std::string_view in, bool in_ring);
  [[nodiscard]] bool SentStraight(LoopCore& loop, ConnectionCold& cold);
  void FinishStraight(std::size_t received);
  [[nodiscard]] Transfer TryReceive(LoopCore& loop);
  [[nodiscard]] Transfer TrySendStaged(LoopCore& loop);
  void SetNeed(std::uint32_t count) noexcept;
  void BeginOnData(LoopCore& loop, std::string_view in);
  [[nodiscard]] std::size_t CallOnData(std::string_view in) noexcept;
  void FinishOnData(std::string_view in, std::size_t consumed, bool in_ring);
  void OnOverconsumed(std::size_t consumed, std::size_t size);
  void KeepUnread(std::string_view rest);
  void TellDrained();
  void FinishDrain(std::size_t received);
  [[nodiscard]] bool WaitsForMemory();

  [[nodiscard]] bool MayWrite() const noexcept;
  [[nodiscard]] bool MayStage() const noexcept;
  bool WriteAnyhow(std::string_view bytes);
  [[nodiscard]] bool HasRoom(std::size_t size);
  bool WriteFitting(std::string_view bytes);
  template <class Add>
  bool Queue(std::string_view bytes, Add&& add);
  void QueueStaged(std::size_t sent);
  std::size_t SendThrough(std::string_view bytes);
  void SendStaged();
  void KeepUnsent(std::size_t sent);
  void SendQueued();
  std::size_t Account(Transfer sent);
  void OnSendFailed(int error);
  void WaitForWritable();
  void OnWritable();
  void Modify(Interest interest);
  void EnterDirty();
  void OweNextTurn();
  [[nodiscard]] std::size_t HighWater() const noexcept;
  [[nodiscard]] std::size_t LowWater() const noexcept;
  void NoteCongestion() noexcept;
  void NoteRelief();

  // ---- Time

  // Room for the rest of what it may need: made at the first use. Throws std::bad_alloc.
  ConnectionExtension& Extend();
  [[nodiscard]] ConnectionExtension& Extension() const noexcept;  // REQUIRES: kExtended
  void DropExtension() noexcept;
  [[nodiscard]] bool IsNeeded(const ConnectionExtension& extension) const noexcept;
  template <class Apply>
  bool Change(Apply&& apply);
  [[nodiscard]] std::uint32_t NowTick() const noexcept;
  [[nodiscard]] std::uint64_t After(std::uint32_t tick, Duration time) const noexcept;
  [[nodiscard]] std::uint64_t NextDeadline(const ConnectionExtension& extension) const noexcept;
  void ArmTimer(ConnectionExtension& extension);
  void TellTimeouts(ConnectionExtension& extension);
  void TellTimeout(TimeoutKind kind);
  void NoteReceived() noexcept;
  void NoteSent() noexcept;
  void NoteOutputWaits();
  void StartLinger();

  LoopCore* loop_ = nullptr;
  Handler* handler_ = nullptr;
  RingBuffer inbound_;    // what OnData left unread; never wraps
  OutputQueue outbound_;  // what the kernel did not take
  int fd_ = -1;
  std::uint32_t flags_ = 0;
  State state_ = State::kFree;
  CloseReason reason_ = CloseReason::kLocal;
  std::uint8_t wire_ = 0;          // LoopCore::wires
  std::uint8_t error_ = 0;         // the errno for OnClose: all are below 256
  std::uint32_t need_ = 0;         // NeedAtLeast
  std::uint32_t seen_ = 0;         // how much of the inbound ring OnData has seen
  std::uint32_t active_tick_ = 0;  // kTimed: when a byte last moved; once closed: a byte of output
};
static_assert(sizeof(ConnectionImpl) == 64, "an event touches one cache line");

// The rest of a connection: what few events touch.
struct ConnectionCold {
  void* context = nullptr;  // see connection_context.cc
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  PeerAddress peer;
  std::uint16_t listener = 0;
  std::uint32_t extension = 0;  // its slot in LoopCore::extensions
};
static_assert(sizeof(ConnectionCold) <= 48);

// What few connections need at a time: those whose output waits, which linger, or for which the
// program has set a time or watermarks. From a pool.
struct alignas(64) ConnectionExtension {
  static constexpr std::uint64_t kNever = UINT64_MAX;

  Token token;  // the pool's
  std::size_t high_water = 0;
  std::size_t low_water = 0;
  std::uint64_t read_deadline = kNever;  // ticks, as all times here
  std::uint64_t write_deadline = kNever;
  std::uint32_t timer = 0;        // Engine::ArmOwned: no later than what comes first; 0: none
  std::uint32_t idle = 0;         // 0: no idle time-out
  std::uint32_t output_tick = 0;  // while output waits: when the peer last took some
  std::uint32_t drain_left = 0;   // of what had arrived at Stop, bytes that are still to be read
  bool output_waits = false;
  bool own_water = false;
  bool lingers = false;  // active_tick_ speaks of output only
};
static_assert(sizeof(ConnectionExtension) == 64);

}  // namespace weir
