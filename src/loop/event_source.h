// What an epoll event, the owed list or a timer can be for, other than a connection: a listener, a
// signal descriptor, the loop's own deadlines. Few of each, so virtual calls.
//
// OWNER     Whoever registered it with Engine::AddSource(), until RemoveSource().
// THREADS   The loop's thread.

#pragma once

#include "os/poller.h"

namespace weir {

class EventSource {
 public:
  virtual void OnEdge(Edge) {}
  virtual void OnOwed() {}   // its turn of the owed list has come
  virtual void OnTimer() {}  // Engine::ArmTimer() for it has expired

 protected:
  ~EventSource() = default;
};

}  // namespace weir
