#include "net/loop_core.h"

#include <exception>

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
  }
}

}  // namespace weir
