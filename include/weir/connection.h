// One established byte stream (TCP or Unix), from OnOpen() to OnClose().
//
// OWNER     The EventLoop owns every connection and its buffers; everyone else borrows a
//           Connection&.
// LIFETIME  A borrowed reference is good until OnClose() returns. To remember a connection for
//           longer, keep its Ref().
// THREADS   The loop's thread only.
// ERRORS    Nothing here throws, but for Emplace(), which passes on what T's constructor throws. A
//           connection fails once, and says so once: as the arguments of OnClose(). Calls made
//           after that do nothing.
// REENTRY   No callback runs inside these calls. They work from anywhere on the loop's thread, on
//           any connection.
// UNITS     Sizes are bytes.

#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "weir/address.h"
#include "weir/clock.h"
#include "weir/connection_ref.h"
#include "weir/options.h"

namespace weir {

class EventLoop;
class Handler;

// No data and no private parts here: the implementation is final, and its own.
class Connection {
 public:
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // ---- Output: never blocks, keeps its order.

  // Queues a copy of `bytes`. They leave when the callback that is running returns, in one send
  // with all else that was written to this connection during it; written from elsewhere (another
  // connection's callback, a posted task), when the turn ends. A large piece with nothing queued
  // before it goes at once, and only what the kernel does not take is kept. Returns false, and
  // takes nothing, once the connection is closed, its output was shut down, or it has failed, also
  // by this very write, which would pass Options::max_output: OnClose() tells why.
  bool Write(std::string_view bytes);

  // The same for several pieces, which are one write.
  bool Writev(std::span<const std::string_view> pieces);
  bool Writev(std::initializer_list<std::string_view> pieces) {
    return Writev(std::span<const std::string_view>(pieces.begin(), pieces.size()));
  }

  // The same without a copy: the connection keeps the string, or shares it with other connections,
  // until its last byte is with the kernel. (Short ones are copied: that is cheaper.)
  bool WriteOwned(std::string bytes);
  bool WriteShared(std::shared_ptr<const std::string> bytes);

  // Room to build output in place, in order with the rest: write at most `count` bytes there, then
  // say how many by Commit(). The span dies at the next call on any connection of the loop that
  // writes, flushes or closes, and when the callback returns; what is not committed then never was.
  // Empty when Write() would return false.
  [[nodiscard]] std::span<char> Reserve(std::size_t count);
  void Commit(std::size_t count);  // REQUIRES: count <= the size of the span

  // When output leaves; Options::flush is where it starts. With Flush::kBatch nothing leaves before
  // OnBatchEnd() has returned, whatever its size.
  void SetFlush(Flush flush);

  // Hands what is queued to the kernel now instead of at the end of the callback or turn. With
  // Flush::kBatch it changes nothing.
  void FlushNow();

  // Bytes queued and not yet taken by the kernel.
  [[nodiscard]] std::size_t Pending() const noexcept;
  // Pending() went above the high watermark, and OnDrain() has not come since.
  [[nodiscard]] bool Congested() const noexcept;
  // Other watermarks than Options::high_water and low_water. REQUIRES: low <= high.
  void SetWatermarks(std::size_t high, std::size_t low);

  // ---- Input

  // What has arrived and is not yet consumed: one contiguous view, oldest byte first. Dies when the
  // callback returns, and at the next Consume() or ResumeRead().
  [[nodiscard]] std::string_view Input() const noexcept;

  // How much of Input() an earlier OnData() of this handler has seen: a scan for a delimiter may
  // start there, if that call looked at all of it. (One that stopped in the middle, because the
  // connection was Congested(), did not.)
  [[nodiscard]] std::size_t Scanned() const noexcept;

  // OnData() comes no more before `count` bytes are unconsumed. The OnData() that satisfies it
  // clears it. At the end of the stream with fewer, OnEnd() comes, and Input() holds the rest. A
  // count above Options::max_input closes the connection with kInputLimit.
  void NeedAtLeast(std::size_t count);

  // Drops the oldest `count` bytes. REQUIRES: count <= Input().size(), and not inside OnData(),
  // which says what it consumed by what it returns.
  void Consume(std::size_t count);

  // Stops reading, so that TCP itself slows the sender down, until ResumeRead(). No system call is
  // made; an edge that arrives meanwhile is kept, not lost. The end of the stream waits behind it;
  // an error (a reset) does not. (Options::auto_pause does the same by itself, and undoes it.)
  void PauseRead() noexcept;
  // Reading goes on in the loop's owed list, and OnData comes again with what Input() still holds.
  void ResumeRead();

  // ---- End

  // Sends what is queued, then FIN, then waits for the peer's end, so that unread input does not
  // turn the reply into a reset; Options::close_linger bounds both. OnData() comes no more.
  // OnClose() comes when all output is with the kernel.
  void Close();

  // Resets: queued output is dropped, the peer's read fails with ECONNRESET. OnClose() follows.
  void Abort();

  // FIN once what is queued has left; reading goes on. Write() returns false from now on.
  void ShutdownWrite();

  // Another handler from the next callback on: a protocol upgrade. It is borrowed, and gets
  // OnData() for what is unconsumed, but no OnOpen().
  void SetHandler(Handler& handler);

  // ---- Time: O(1), no system call. Each is told once, by Handler::OnTimeout(), never early, and
  // within some milliseconds unless the loop is busy.

  // When no byte has moved either way for `timeout`, counted from the turn in which one did; again
  // only after one has. At most 24 days; more, or zero, is none. Options::idle_timeout is where it
  // starts.
  void SetIdleTimeout(Duration timeout);
  // At `deadline`, whatever arrives until then; Clock::time_point() clears it. For a time that is
  // counted from now, EventLoop::Now() is at hand.
  void SetReadDeadline(Clock::time_point deadline);
  // At `deadline`, or as soon after it as output waits for the peer: never while there is none.
  void SetWriteDeadline(Clock::time_point deadline);

  // ---- Facts

  [[nodiscard]] bool IsOpen() const noexcept;   // until Close(), Abort() or an error
  [[nodiscard]] int Fd() const noexcept;        // borrowed: never close it
  [[nodiscard]] int Listener() const noexcept;  // what EventLoop::Listen() returned
  [[nodiscard]] ConnRef Ref() const noexcept;
  [[nodiscard]] EventLoop& Loop() const noexcept;
  [[nodiscard]] Address Local() const;  // asks the kernel: no address when it no longer knows
  [[nodiscard]] Address Peer() const;   // remembered for TCP: also good after a reset
  [[nodiscard]] std::uint64_t BytesIn() const noexcept;   // received so far
  [[nodiscard]] std::uint64_t BytesOut() const noexcept;  // taken by the kernel so far

  // ---- Context: one object of yours, kept with the connection and destroyed after OnClose().

  // Makes the context, after destroying the one that was there.
  template <class T, class... Arguments>
  T& Emplace(Arguments&&... arguments) {
    const Room room = PrepareContext(kContextType<T>);
    T* const context = ::new (room.Get()) T(std::forward<Arguments>(arguments)...);
    room.Keep();
    return *context;
  }

  // REQUIRES: the context is a T (checked).
  template <class T>
  [[nodiscard]] T& Get() const noexcept {
    return *static_cast<T*>(RequireContext(kContextType<T>));
  }

  // nullptr unless the context is a T.
  template <class T>
  [[nodiscard]] T* TryGet() const noexcept {
    return static_cast<T*>(FindContext(kContextType<T>));
  }

 protected:
  Connection() = default;
  ~Connection() = default;

 private:
  friend class ConnectionImpl;  // names ContextType, which only the templates above need

  // What the library must know of a context's type. Its address identifies the type.
  struct ContextType {
    std::size_t size;
    std::size_t alignment;
    void (*destroy)(void* context) noexcept;
  };
  template <class T>
  static void DestroyContext(void* context) noexcept {
    static_cast<T*>(context)->~T();
  }
  template <class T>
  static constexpr ContextType kContextType{sizeof(T), alignof(T), &DestroyContext<T>};

  // Memory for a context, given back unless it is kept: T's constructor may throw.
  class Room {
   public:
    Room(Connection& connection, const ContextType& type, void* memory) noexcept
        : connection_(connection), type_(type), memory_(memory) {}
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;
    ~Room() {
      if (memory_ != nullptr) connection_.DropContextRoom(type_, memory_);
    }
    [[nodiscard]] void* Get() const noexcept { return memory_; }
    void Keep() const noexcept {
      connection_.KeepContext(type_, memory_);
      memory_ = nullptr;
    }

   private:
    Connection& connection_;
    const ContextType& type_;
    mutable void* memory_;
  };

  Room PrepareContext(const ContextType& type);
  void DropContextRoom(const ContextType& type, void* memory) noexcept;
  void KeepContext(const ContextType& type, void* memory) noexcept;
  void* FindContext(const ContextType& type) const noexcept;
  void* RequireContext(const ContextType& type) const noexcept;
};

}  // namespace weir
