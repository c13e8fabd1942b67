#include "net/loop_core.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/log.h"

namespace weir {

void LoopCore::NoteException(std::string_view where) noexcept {
  engine.counters().exceptions.Add(1);
  try {
    throw;
  } catch (const std::exception& exception) {
    log::Error("{} threw: {}", where, exception.what());
  } catch (...) {
    log::Error("{} threw something that is no std::exception", where);
  }
  switch (options.on_exception) {
    case OnException::kCloseConnection:
      return;
    case OnException::kTerminate:
      std::terminate();
    case OnException::kFinishTurnThenRethrow:
      if (rethrow == nullptr) rethrow = std::current_exception();
      needs_care = true;
  }
}

void LoopCore::NoteAlsoCalled() {
  also_called.push_back(called);
  called_several = true;
}

void LoopCore::RelieveMemory() {
  buffered_before = Buffered();
  engine.counters().buffered.Set(buffered_before);
  if (IsFull()) ShedLargest();
  if (IsFull()) {
    // What was shed is freed when it retires, in the next turn: which is to look again, even if it
    // ends with as much as this one.
    buffered_before = SIZE_MAX;
    return;
  }
  for (const Token token : std::exchange(held, {})) {
    if (ConnectionImpl* const connection = table.Find(token)) connection->ResumeAfterMemory();
  }
  RetryAccepts();
}

void LoopCore::ShedLargest() {
  struct Holder {
    std::size_t bytes;
    ConnectionImpl* connection;
  };
  std::vector<Holder> holders;
  std::size_t buffered = 0;  // by those that live on
  table.ForEach([&](ConnectionImpl& connection) {
    const std::size_t bytes = connection.HeldInput() + connection.HeldOutput();
    if (bytes == 0 || connection.state() == State::kDead) return;
    buffered += bytes;
    holders.push_back({bytes, &connection});
  });
  std::sort(holders.begin(), holders.end(),
            [](const Holder& a, const Holder& b) { return a.bytes > b.bytes; });
  for (const Holder& holder : holders) {
    if (buffered <= max_buffered) return;
    buffered -= holder.bytes;
    ConnectionImpl& largest = *holder.connection;
    const bool by_input = largest.HeldInput() > largest.HeldOutput();
    log::Warning("connection {}: reset: it holds {} bytes, all connections {} (max_buffered {})",
                 largest.token.Packed(), holder.bytes, Buffered(), max_buffered);
    engine.counters().shed.Add(1);
    largest.Abort(by_input ? CloseReason::kInputLimit : CloseReason::kOutputLimit);
  }
}

}  // namespace weir
