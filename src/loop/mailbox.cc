// The sleep protocol, so that no post is ever slept on and a busy loop costs no system call:
//
//     poster                              loop
//     (1) push the node                   (a) sleeping = true
//     (2) if sleeping:                    (b) if the stack is not empty: sleeping = false,
//           clear it; who clears                and do not sleep
//           it writes the eventfd         (c) epoll_wait
//                                         (d) sleeping = false
//
// All of 1, 2, a and b are seq_cst operations, so they have one order that both threads agree on:
// if b did not see the node, then 1 came after b, hence 2 after a, and the poster sees sleeping ==
// true. (No fences: ThreadSanitizer does not see them.) The exchange in 2 makes it one write for
// each sleep, however many post. The eventfd is registered edge-triggered and never read: each
// write is an edge, and the counter would overflow only after 2^64 - 2 sleeps.
//
// Nodes travel poster -> stack -> loop -> free_ -> poster. A poster takes the whole of free_ and
// keeps what it does not need at once in a list of its own thread, so that neither end ever pops
// one node of a shared list, which is where ABA lives.

#include "loop/mailbox.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"
#include "os/sys.h"
#include "weir/error.h"

namespace weir {

struct Mailbox::Node : StackLink {
  Work work;
};

// The nodes that one thread keeps for its next posts, to whichever mailbox. They go with the
// thread.
class Mailbox::NodeCache {
 public:
  NodeCache() = default;
  NodeCache(const NodeCache&) = delete;
  NodeCache& operator=(const NodeCache&) = delete;
  ~NodeCache() {
    while (first_ != nullptr) delete static_cast<Node*>(std::exchange(first_, first_->next));
  }

  Node* Pop() noexcept {
    if (first_ == nullptr) return nullptr;
    return static_cast<Node*>(std::exchange(first_, first_->next));
  }
  void Refill(StackLink* chain) noexcept { first_ = chain; }

 private:
  StackLink* first_ = nullptr;
};

Mailbox::NodeCache& Mailbox::ThisThreadsNodes() noexcept {
  static thread_local NodeCache nodes;
  return nodes;
}

Mailbox::Mailbox(std::size_t limit)
    : limit_(limit), most_uncounted_(std::clamp<std::size_t>(limit / 64, 1, kMostUncounted)) {
  const int fd = sys::EventFd();
  if (fd < 0) throw Error::System("eventfd", -fd);
  event_.reset(fd);
}

Mailbox::~Mailbox() {
  Close();
  for (StackLink* node = free_.load(std::memory_order_acquire); node != nullptr;) {
    delete static_cast<Node*>(std::exchange(node, node->next));
  }
  while (spent_ != nullptr) delete static_cast<Node*>(std::exchange(spent_, spent_->next));
}

Mailbox::Node* Mailbox::NewNode(Work&& work) {
  NodeCache& nodes = ThisThreadsNodes();
  Node* node = nodes.Pop();
  if (node == nullptr && free_.load(std::memory_order_relaxed) != nullptr) {
    nodes.Refill(free_.exchange(nullptr, std::memory_order_acquire));
    node = nodes.Pop();
  }
  if (node == nullptr) node = new Node;
  node->work = std::move(work);
  return node;
}

bool Mailbox::Post(Work&& work) {
  std::unique_ptr<Node> node(NewNode(std::move(work)));
  // The bound is counted before the push, so that no burst of posters passes it together.
  if (waiting_.fetch_add(1, std::memory_order_relaxed) >= limit_) {
    waiting_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  if (!stack_.Push(*node)) {
    waiting_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  static_cast<void>(node.release());  // the loop's now
  sys::Yield(sys::Point::kMailPushed);
  WakeSleeper();
  return true;
}

void Mailbox::WakeSleeper() noexcept {
  if (!sleeping_.load(std::memory_order_seq_cst) ||
      !sleeping_.exchange(false, std::memory_order_seq_cst)) {
    return;
  }
  sys::Yield(sys::Point::kBeforeWake);
  wakeups_.fetch_add(1, std::memory_order_relaxed);
  Wake();
}

void Mailbox::Wake() noexcept {
  // EAGAIN would mean that the counter is full: then an edge is on its way already.
  static_cast<void>(sys::WriteEventFd(event_.get()));
}

Work Mailbox::Take() {
  if (taken_ == nullptr) {
    taken_ = stack_.TakeAll();
    if (taken_ == nullptr) return nullptr;
  }
  Node* const node = static_cast<Node*>(std::exchange(taken_, taken_->next));
  if (++uncounted_ == most_uncounted_ || taken_ == nullptr) {
    waiting_.fetch_sub(std::exchange(uncounted_, 0), std::memory_order_relaxed);
  }
  Work work = std::move(node->work);
  Recycle(node);
  return work;
}

// Gives nodes back in batches: one by one, posters would fight over each. After a burst, the memory
// of most goes back to the heap.
void Mailbox::Recycle(Node* node) noexcept {
  const bool begins = spent_ == nullptr;
  if (begins && free_.load(std::memory_order_relaxed) == nullptr) given_back_ = 0;
  if (given_back_ < kMostSpare) {
    ++given_back_;
    if (begins) spent_last_ = node;
    node->next = spent_;
    spent_ = node;
  } else {
    delete node;
  }
  if (taken_ != nullptr || spent_ == nullptr) return;
  StackLink* free = free_.load(std::memory_order_relaxed);
  do {
    spent_last_->next = free;
  } while (!free_.compare_exchange_weak(free, spent_, std::memory_order_release,
                                        std::memory_order_relaxed));
  spent_ = nullptr;
}

void Mailbox::DestroyChain(StackLink* oldest) noexcept {
  while (oldest != nullptr) {
    delete static_cast<Node*>(std::exchange(oldest, oldest->next));
    waiting_.fetch_sub(1, std::memory_order_relaxed);
  }
}

void Mailbox::Close() noexcept {
  // Destroying work may post: that fails from here on.
  StackLink* const rest = stack_.Close();
  DestroyChain(std::exchange(taken_, nullptr));
  DestroyChain(rest);
}

}  // namespace weir
