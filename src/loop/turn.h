// One turn of a loop. The order is the contract of the whole library; this is where it is written.
//
//     wait      0 if anything is owed, dirty, retiring or posted; else until the next timer, or for
//               ever
//     mail      posted tasks, at most so many
//     edges     what epoll reported: of each connection write, then read, then end
//     owed      who has more to do than one receive, first come first served, within budgets
//     timers    those that are due
//     retire    OnClose, until nobody is left: it may write to others and close them
//     batch     OnBatchEnd of each handler that was called in this turn
//     flush     what was written from elsewhere leaves
//
// Retire stands before flush, so that what an OnClose writes to others leaves in the same turn, and
// flush stands last, so that the loop never sleeps on output. What flush or OnBatchEnd closes makes
// the retire list not empty, hence the next wait 0.
//
// Host is the loop of the net floor. Its step functions return how many things they served.

#pragma once

#include "weir/clock.h"

namespace weir {

// Inlined: a turn with one event is short enough for its calls to count.
template <class Host>
[[gnu::always_inline]] inline int RunTurn(Host& host, Duration max_wait) {
  const auto events = host.Wait(max_wait);
  int served = host.TakeMail();
  served += host.TakeEdges(events);
  served += host.ServeOwed();
  served += host.FireTimers();
  served += host.Retire();
  host.EndBatch();
  served += host.Flush();
  return served;
}

}  // namespace weir
