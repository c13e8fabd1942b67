#include "loop/counters.h"

namespace weir {

Stats Counters::Read(std::uint64_t wakeups) const noexcept {
  return {.connections = connections.Get(),
          .lingering = lingering.Get(),
          .buffered = buffered.Get(),
          .accepted = accepted.Get(),
          .refused = refused.Get(),
          .closed = closed.Get(),
          .accept_errors = accept_errors.Get(),
          .turns = turns.Get(),
          .events = events.Get(),
          .stale_events = stale_events.Get(),
          .receives = receives.Get(),
          .sends = sends.Get(),
          .would_block = would_block.Get(),
          .bytes_in = bytes_in.Get(),
          .bytes_out = bytes_out.Get(),
          .owed = owed.Get(),
          .paused = paused.Get(),
          .timeouts = timeouts.Get(),
          .shed = shed.Get(),
          .mail = mail.Get(),
          .wakeups = wakeups,
          .exceptions = exceptions.Get()};
}

}  // namespace weir
