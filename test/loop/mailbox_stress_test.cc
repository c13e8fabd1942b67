// Posts by the million, and posts that race with the sleep and with the end of their loop.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "loop/mailbox.h"
#include "support/catch.h"
#include "weir/event_loop.h"

using weir::Duration;
using weir::EventLoop;
using weir::Mailbox;
using weir::Work;

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kFewer = 20;
#else
constexpr int kFewer = 1;
#endif

}  // namespace

TEST_CASE("ten million posts of four threads run once each, in each thread's order",
          "[loop][mailbox]") {
  constexpr int kThreads = 4;
  constexpr int kPosts = 2'500'000 / kFewer;
  EventLoop loop;
  struct alignas(64) Last {
    int next = 0;
  };
  std::vector<Last> last(kThreads);
  int ran = 0;
  int out_of_order = 0;
  std::vector<std::thread> threads;
  for (int id = 0; id < kThreads; ++id) {
    threads.emplace_back([&, id] {
      for (int i = 0; i < kPosts; ++i) {
        const auto work = [&, id, i] {
          if (std::exchange(last[static_cast<std::size_t>(id)].next, i + 1) != i) ++out_of_order;
          if (++ran == kThreads * kPosts) loop.Stop();
        };
        while (!loop.Post(work)) std::this_thread::yield();
      }
    });
  }
  loop.Run();
  for (std::thread& thread : threads) thread.join();
  CHECK(ran == kThreads * kPosts);
  CHECK(out_of_order == 0);
  for (const Last& one : last) CHECK(one.next == kPosts);
  CHECK(loop.GetStats().mail == kThreads * std::uint64_t{kPosts});
}

namespace {

// What became of one post.
enum class Fate : std::uint8_t { kNone, kRan, kDestroyed, kDestroyedElsewhere, kTwice };

class Errand {
 public:
  Errand(Fate& fate, const std::thread::id& home) : fate_(&fate), home_(&home) {}
  Errand(Errand&& other) noexcept
      : fate_(std::exchange(other.fate_, nullptr)), home_(other.home_), ran_(other.ran_) {}
  Errand(const Errand&) = delete;
  Errand& operator=(const Errand&) = delete;
  Errand& operator=(Errand&&) = delete;
  ~Errand() {
    if (fate_ == nullptr) return;
    const bool at_home = std::this_thread::get_id() == *home_;
    if (*fate_ != Fate::kNone) {
      *fate_ = Fate::kTwice;
    } else {
      *fate_ = !at_home ? Fate::kDestroyedElsewhere : ran_ ? Fate::kRan : Fate::kDestroyed;
    }
  }
  void operator()() { ran_ = true; }

 private:
  Fate* fate_;
  const std::thread::id* home_;
  bool ran_ = false;
};

}  // namespace

TEST_CASE("a post that races with the end runs or is destroyed at home, or is refused",
          "[loop][mailbox]") {
  constexpr int kRounds = 10'000 / kFewer;
  constexpr std::size_t kPosts = 24;
  const std::thread::id home = std::this_thread::get_id();
  EventLoop* loop = nullptr;
  std::atomic<int> round{0};
  std::atomic<int> done{0};
  struct Poster {
    std::vector<Fate> fates = std::vector<Fate>(kPosts);
    std::vector<char> taken = std::vector<char>(kPosts);
  };
  Poster posters[2];
  std::vector<std::thread> threads;
  const auto wait_for = [](std::atomic<int>& value, int wanted) {
    for (int now; (now = value.load()) < wanted;) value.wait(now);
  };
  for (int id = 0; id < 2; ++id) {
    threads.emplace_back([&, id] {
      Poster& mine = posters[id];
      for (int i = 1; i <= kRounds; ++i) {
        wait_for(round, i);
        const std::size_t stop_at = static_cast<std::size_t>(i) % kPosts;
        for (std::size_t k = 0; k < kPosts; ++k) {
          if (id == 0 && k == stop_at) loop->Stop(Duration::zero());
          mine.taken[k] = loop->Post(Errand(mine.fates[k], home)) ? 1 : 0;
        }
        ++done;
        done.notify_all();
      }
    });
  }
  int ran = 0;
  int destroyed = 0;
  int refused = 0;
  int wrong = 0;
  for (int i = 1; i <= kRounds; ++i) {
    for (Poster& poster : posters) std::fill(poster.fates.begin(), poster.fates.end(), Fate::kNone);
    {
      EventLoop one;
      loop = &one;
      round = i;
      round.notify_all();
      one.Run();
      wait_for(done, 2 * i);
    }
    for (const Poster& poster : posters) {
      bool over = false;
      for (std::size_t k = 0; k < kPosts; ++k) {
        const bool taken = poster.taken[k] != 0;
        const Fate fate = poster.fates[k];
        if (taken && over) ++wrong;  // once refused, always refused
        over = over || !taken;
        if (taken && fate == Fate::kRan) ++ran;
        if (taken && fate == Fate::kDestroyed) ++destroyed;
        if (!taken && fate == Fate::kDestroyedElsewhere) ++refused;
      }
    }
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(ran + destroyed + refused == kRounds * 2 * static_cast<int>(kPosts));
  CHECK(ran > 0);
  CHECK(refused > 0);
}

namespace {

// What comes after `before`. It spins: whom the kernel wakes comes too late. (A processor that is
// shared is given away now and then.)
int Next(const std::atomic<int>& value, int before) {
  for (int spins = 1;; ++spins) {
    const int now = value.load(std::memory_order_acquire);
    if (now != before) return now;
    if (spins % 100'000 == 0) std::this_thread::yield();
  }
}

void Linger(int steps) {
  volatile int left = steps;
  while (left > 0) left = left - 1;
}

// Both threads write these lines in turn. So each has to get them back, and what it stores next
// stays in its own store buffer meanwhile: that is where a store is late.
class ContendedLines {
 public:
  void Write(int value) {
    for (Line& line : lines_) line.value.store(value, std::memory_order_relaxed);
  }

 private:
  struct alignas(64) Line {
    std::atomic<int> value{0};
  };
  std::array<Line, 32> lines_;
};

}  // namespace

// Both sides of the sleep protocol at one moment, as two processors see them. (mailbox_test.cc
// tries its steps in all orders, but each of them whole: no store is late there.)
TEST_CASE("who posts while the loop goes to sleep is seen, or wakes it", "[loop][mailbox]") {
  using Clock = std::chrono::steady_clock;
  constexpr int kRounds = 1'000'000 / kFewer;
  constexpr int kEnd = -1;
  Mailbox mailbox(16);
  alignas(64) std::atomic<int> round{0};
  alignas(64) std::atomic<int> posted{0};
  ContendedLines lines;
  std::thread poster([&] {
    for (int now = 0; (now = Next(round, now)) != kEnd;) {
      Linger(now % 8);
      mailbox.Post([] {});
      lines.Write(now);
      posted.store(now, std::memory_order_release);
    }
  });
  int lost = 0;
  int linger = 0;  // found out: so that either comes first as often as the other
  const auto give_up_at = Clock::now() + std::chrono::seconds(10);  // on a busy machine
  for (int i = 1; i <= kRounds && lost == 0; ++i) {
    if (i % 64 == 0 && Clock::now() >= give_up_at) break;
    const std::size_t woken = mailbox.wakeups();
    round.store(i, std::memory_order_release);
    Linger(linger);
    lines.Write(i);
    const bool sleeps = mailbox.BeginSleep();
    static_cast<void>(Next(posted, i - 1));
    if (sleeps && mailbox.wakeups() == woken) ++lost;
    linger = sleeps ? (linger + 1) % 1000 : std::max(linger - 1, 0);
    mailbox.EndSleep();
    mailbox.Take();
  }
  round.store(kEnd, std::memory_order_release);
  poster.join();
  CHECK(lost == 0);
}
