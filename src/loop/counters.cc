#include "loop/counters.h"

#include <algorithm>
#include <array>

namespace weir {

Stats Counters::Read(std::uint64_t wakeups) const noexcept {
  const std::uint64_t open = connections.Get();
  return {.connections = open,
          .connections_most = open,
          .connections_least = open,
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

void Accumulate(Stats& sum, const Stats& one) noexcept {
  constexpr std::array kSums = {
      &Stats::connections, &Stats::lingering,    &Stats::buffered,      &Stats::accepted,
      &Stats::refused,     &Stats::closed,       &Stats::accept_errors, &Stats::turns,
      &Stats::events,      &Stats::stale_events, &Stats::receives,      &Stats::sends,
      &Stats::would_block, &Stats::bytes_in,     &Stats::bytes_out,     &Stats::owed,
      &Stats::paused,      &Stats::timeouts,     &Stats::shed,          &Stats::mail,
      &Stats::wakeups,     &Stats::exceptions};
  static_assert(sizeof(Stats) == (kSums.size() + 2) * sizeof(std::uint64_t),
                "a figure that is added to Stats is added here");
  for (const auto figure : kSums) sum.*figure += one.*figure;
  sum.connections_most = std::max(sum.connections_most, one.connections_most);
  sum.connections_least = std::min(sum.connections_least, one.connections_least);
}

}  // namespace weir
