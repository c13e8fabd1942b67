#include "net/shared_listener.h"

#include <new>

#include "net/acceptor.h"
#include "net/loop_core.h"

namespace weir {

void SharedListener::Join(LoopCore& core, Acceptor& acceptor) {
  members_.push_back({&core, &acceptor});
  users_.fetch_add(1, std::memory_order_relaxed);  // before the loops' threads are started
}

void SharedListener::Nudge(const Acceptor& from) const noexcept try {
  for (const Member& member : members_) {
    if (member.acceptor == &from) continue;
    // A loop that has ended, or whose mailbox is full, is none to rely on: the next one is.
    static_cast<void>(
        member.core->engine.mailbox().Post([acceptor = member.acceptor] { acceptor->Look(); }));
  }
} catch (const std::bad_alloc&) {
  // No memory to ask by: the next client wakes somebody.
}

}  // namespace weir
