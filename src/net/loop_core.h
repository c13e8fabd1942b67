// What connections and acceptors share of their loop: the engine, the table, the buffers.
//
// OWNER     EventLoop::Impl.
// THREADS   The loop's thread.

#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "data/buffer_pool.h"
#include "data/context_pool.h"
#include "data/slab.h"
#include "loop/engine.h"
#include "net/connection_impl.h"
#include "net/socket_wire.h"
#include "net/staging.h"
#include "os/machine.h"
#include "weir/event_loop.h"
#include "weir/options.h"

namespace weir {

struct LoopCore {
  // Far beyond what descriptors allow; the table grows by chunks, and never moves.
  static constexpr std::size_t kMaxConnections = std::size_t{1} << 24;

  LoopCore(EventLoop& event_loop, const Options& loop_options, std::unique_ptr<Poller> poller)
      : loop(event_loop),
        options(loop_options),
        engine(std::move(poller), loop_options.max_mail),
        max_buffered(loop_options.max_buffered != 0 ? loop_options.max_buffered
                                                    : Machine{}.Memory() / 4),
        staging(std::min(loop_options.high_water, loop_options.max_output)),
        read_buffer(new char[loop_options.read_chunk]) {}

  using Table = Slab<ConnectionImpl, ConnectionCold>;
  [[nodiscard]] std::span<char> ReadBuffer() noexcept {
    return {read_buffer.get(), options.read_chunk};
  }

  // Remembers whose OnBatchEnd is due: nearly always one handler's.
  void NoteCalled(Handler& handler) {
    if (called == &handler) return;
    if (called != nullptr) [[unlikely]] {
      NoteAlsoCalled();
    }
    called = &handler;
  }

  std::uint8_t IndexOf(Wire& wire) {
    const auto end = std::find(wires.begin(), wires.end(), nullptr);
    const auto known = std::find(wires.begin(), end, &wire);
    Check(known != wires.end(), "a loop has few kinds of wire");
    *known = &wire;
    return static_cast<std::uint8_t>(known - wires.begin());
  }

  // What a callback threw has been caught. REQUIRES: inside the catch clause.
  void NoteException(std::string_view where) noexcept;

  // Bytes of memory that the buffers of all connections hold.
  [[nodiscard]] std::size_t Buffered() const noexcept {
    return buffers.bytes_in_use() + held_output;
  }
  [[nodiscard]] bool IsFull() const noexcept { return Buffered() > max_buffered; }

  // At the end of a turn: counts what is buffered, and resets the largest holders if it is too
  // much; when it no longer is, those that had to wait go on.
  void CheckMemory() {
    if (Buffered() != buffered_before) [[unlikely]] {
      RelieveMemory();
    }
  }
  // Both go on when memory is no longer full, perhaps at the end of this very turn: it is to look.
  void HoldForMemory(Token connection) {
    held.push_back(connection);
    buffered_before = SIZE_MAX;
  }
  void HoldAccepting() { buffered_before = SIZE_MAX; }

  // There may be descriptors, or memory, for another connection.
  void RetryAccepts() {
    if (waiting_acceptors.empty()) [[likely]] {
      return;
    }
    for (const Token acceptor : waiting_acceptors) engine.OweSource(acceptor);
    waiting_acceptors.clear();
  }

  EventLoop& loop;
  const Options options;
  BufferPool buffers;
  ContextPool contexts;
  Engine engine;
  const std::size_t max_buffered;
  std::size_t held_output = 0;  // see OutputPools::held
  OutputPools output_pools{buffers, contexts, held_output};
  SocketWire tcp{SocketWire::Kind::kTcp};
  SocketWire unix_stream{SocketWire::Kind::kUnix};
  static constexpr std::uint8_t kTcp = 0;
  std::array<Wire*, 256> wires{&tcp, &unix_stream};  // a connection keeps the index
  Table table{kMaxConnections};
  struct Nothing {};
  Slab<ConnectionExtension, Nothing> extensions{kMaxConnections};

  // Lent to one connection at a time. Not touched before they are used.
  Staging staging;
  std::unique_ptr<char[]> read_buffer;
  std::string_view delivered;  // what OnData of staging.owner() was given; {} in other callbacks

  Handler* called = nullptr;  // last in this turn
  bool called_several = false;
  std::vector<Handler*> also_called;
  bool needs_care = false;     // the loop stops, or there is something to rethrow
  std::exception_ptr rethrow;  // OnException::kFinishTurnThenRethrow: the turn's first

  // Whose edge or owed visit is being served, or was last, and the bytes that it has had in this
  // turn.
  ConnectionImpl* visiting = nullptr;
  std::size_t visit_spent = 0;
  bool visit_is_last = false;                 // in this turn
  ConnectionImpl* telling_timeout = nullptr;  // whose OnTimeout is running
  bool draining = false;                      // a connection that is still accepted drains at once

  std::size_t buffered_before = 0;       // at the end of the last turn
  std::vector<Token> held;               // connections that are not read while memory is full
  std::vector<Token> waiting_acceptors;  // for descriptors, or for memory

 private:
  void NoteAlsoCalled();
  void RelieveMemory();
  void ShedLargest();
};

inline Wire& ConnectionImpl::wire() const noexcept { return *loop_->wires[wire_]; }

inline ConnectionCold& ConnectionImpl::Cold() const noexcept {
  return LoopCore::Table::ColdOf(const_cast<ConnectionImpl&>(*this));  // the cold part is no member
}

}  // namespace weir
