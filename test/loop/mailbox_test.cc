#include "loop/mailbox.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "os/sys.h"
#include "support/catch.h"
#include "support/interleavings.h"
#include "weir/event_loop.h"

using weir::Mailbox;
using weir::Work;
using weir::test::Interleaving;

namespace {

// What the eventfd was written since the last call.
std::uint64_t TakeWakes(const Mailbox& mailbox) {
  std::uint64_t count = 0;
  return ::read(mailbox.fd(), &count, sizeof count) == sizeof count ? count : 0;
}

int RunAll(Mailbox& mailbox) {
  int count = 0;
  for (; mailbox.HasMail(); ++count) mailbox.Take()();
  return count;
}

}  // namespace

TEST_CASE("posts run in the order in which they came", "[loop][mailbox]") {
  Mailbox mailbox(1000);
  std::string ran;
  for (char name = 'a'; name <= 'c'; ++name) {
    CHECK(mailbox.Post([&ran, name] { ran += name; }));
  }
  mailbox.Take()();
  CHECK(mailbox.Post([&ran] { ran += 'd'; }));  // behind those that were taken over
  RunAll(mailbox);
  CHECK(ran == "abcd");
  CHECK_FALSE(mailbox.HasMail());
  CHECK_FALSE(mailbox.Take());
}

TEST_CASE("a full mailbox refuses, and destroys what it was given", "[loop][mailbox]") {
  Mailbox mailbox(3);
  for (int i = 0; i < 3; ++i) CHECK(mailbox.Post([] {}));
  const auto token = std::make_shared<int>();
  CHECK_FALSE(mailbox.Post([token] {}));
  CHECK(token.use_count() == 1);

  mailbox.Take();
  CHECK(mailbox.Post([token] {}));
  CHECK_FALSE(mailbox.Post([] {}));
  CHECK(RunAll(mailbox) == 3);
  CHECK(mailbox.Post([] {}));
}

TEST_CASE("one sleep is ended by one write, however many post", "[loop][mailbox]") {
  Mailbox mailbox(1000);
  for (std::uint64_t sleeps = 1; sleeps <= 3; ++sleeps) {
    REQUIRE(mailbox.BeginSleep());
    for (int i = 0; i < 100; ++i) CHECK(mailbox.Post([] {}));
    CHECK(TakeWakes(mailbox) == 1);
    CHECK(mailbox.wakeups() == sleeps);
    mailbox.EndSleep();
    RunAll(mailbox);
  }
}

TEST_CASE("a post to a loop that is awake writes nothing", "[loop][mailbox]") {
  Mailbox mailbox(1000);
  CHECK(mailbox.Post([] {}));
  CHECK_FALSE(mailbox.BeginSleep());  // there is mail
  CHECK(mailbox.Post([] {}));         // and it is awake again
  RunAll(mailbox);
  REQUIRE(mailbox.BeginSleep());
  mailbox.EndSleep();
  CHECK(mailbox.Post([] {}));
  CHECK(TakeWakes(mailbox) == 0);
  CHECK(mailbox.wakeups() == 0);
}

TEST_CASE("mail that was taken over but not yet run keeps the loop awake", "[loop][mailbox]") {
  Mailbox mailbox(10);
  CHECK(mailbox.Post([] {}));
  CHECK(mailbox.Post([] {}));
  mailbox.Take();
  CHECK_FALSE(mailbox.BeginSleep());
}

TEST_CASE("a closed mailbox destroys what waits, and refuses what comes", "[loop][mailbox]") {
  Mailbox mailbox(10);
  const auto token = std::make_shared<int>();
  bool ran = false;
  for (int i = 0; i < 4; ++i) CHECK(mailbox.Post([token, &ran] { ran = true; }));
  mailbox.Take();  // the rest is taken over
  CHECK(mailbox.Post([token] {}));

  mailbox.Close();
  CHECK(token.use_count() == 1);
  CHECK_FALSE(ran);
  CHECK_FALSE(mailbox.HasMail());
  CHECK_FALSE(mailbox.Post([token] {}));
  CHECK(token.use_count() == 1);
  mailbox.Close();
}

TEST_CASE("work that posts while it is destroyed is refused", "[loop][mailbox]") {
  struct Poster {
    explicit Poster(Mailbox& where, int& count) : mailbox(&where), refused(&count) {}
    Poster(Poster&& other) noexcept
        : mailbox(std::exchange(other.mailbox, nullptr)), refused(other.refused) {}
    ~Poster() {
      if (mailbox != nullptr && !mailbox->Post([] {})) ++*refused;
    }
    void operator()() {}
    Mailbox* mailbox;
    int* refused;
  };
  int refused = 0;
  {
    Mailbox mailbox(10);
    CHECK(mailbox.Post(Poster(mailbox, refused)));
    CHECK(mailbox.Post(Poster(mailbox, refused)));
  }
  CHECK(refused == 2);
}

TEST_CASE("a mailbox dies well in the middle of its mail", "[loop][mailbox]") {
  const auto token = std::make_shared<int>();
  {
    Mailbox mailbox(100);
    for (int i = 0; i < 50; ++i) CHECK(mailbox.Post([token] {}));
    for (int i = 0; i < 20; ++i) mailbox.Take();  // their nodes are on their way back
  }
  CHECK(token.use_count() == 1);
}

// ---- No post is slept on

namespace {

struct Outcome {
  bool woke = true;
  std::size_t wakeups = 0;
};

// A loop and posting threads in one order of their steps. Posters post `posts` each.
Outcome PlayOne(Interleaving& order, int posters, int posts) {
  Mailbox mailbox(100);
  int ran = 0;
  order.Add([&] {
    while (ran < posters * posts) {
      if (mailbox.BeginSleep()) {
        std::uint64_t wakes = 0;
        order.Await([&] { return wakes += TakeWakes(mailbox), wakes > 0; });
        mailbox.EndSleep();
      }
      ran += RunAll(mailbox);
    }
  });
  for (int i = 0; i < posters; ++i) {
    order.Add([&] {
      for (int k = 0; k < posts; ++k) mailbox.Post([] {});
    });
  }
  Outcome outcome;
  outcome.woke = order.Run([&] { mailbox.Wake(); });
  outcome.wakeups = mailbox.wakeups();
  return outcome;
}

// In every order. Returns how many there are.
int PlayAll(int posters, int posts) {
  int orders = 0;
  int slept = 0;
  std::size_t most_wakeups = 0;
  std::vector<std::size_t> choices;
  do {
    Interleaving order(choices);
    const Outcome outcome = PlayOne(order, posters, posts);
    slept += outcome.woke ? 0 : 1;
    most_wakeups = std::max(most_wakeups, outcome.wakeups);
    ++orders;
    choices = order.Next();
  } while (!choices.empty());
  CHECK(slept == 0);
  CHECK(most_wakeups <= static_cast<std::size_t>(posters * posts));
  return orders;
}

}  // namespace

TEST_CASE("in no order of their steps does a loop sleep on a post", "[loop][mailbox]") {
  CHECK(PlayAll(1, 1) > 5);
  CHECK(PlayAll(1, 2) > 20);
}

TEST_CASE("in no order of their steps does a loop sleep on one of two posters", "[loop][mailbox]") {
  CHECK(PlayAll(2, 1) > 50);
}

TEST_CASE("four threads' posts each run once, in each thread's order", "[loop][mailbox]") {
  constexpr int kThreads = 4;
  constexpr int kPosts = 100'000;
  weir::EventLoop loop;
  std::vector<int> next(kThreads, 0);
  int ran = 0;
  bool ordered = true;
  std::vector<std::thread> threads;
  for (int id = 0; id < kThreads; ++id) {
    threads.emplace_back([&, id] {
      for (int i = 0; i < kPosts; ++i) {
        const auto work = [&, id, i] {
          ordered = ordered && std::exchange(next[static_cast<std::size_t>(id)], i + 1) == i;
          if (++ran == kThreads * kPosts) loop.Stop();
        };
        while (!loop.Post(work)) std::this_thread::yield();
      }
    });
  }
  loop.Run();
  for (std::thread& thread : threads) thread.join();
  CHECK(ran == kThreads * kPosts);
  CHECK(ordered);
  CHECK(loop.GetStats().mail == kThreads * kPosts);
}

// ---- The bound

TEST_CASE("the bound is exact for small limits, at every count that was taken", "[loop][mailbox]") {
  const auto limit = GENERATE(std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{64},
                              std::size_t{100}, std::size_t{127});
  Mailbox mailbox(limit);
  for (std::size_t taken = 0; taken <= limit; ++taken) {
    std::size_t posted = 0;
    while (mailbox.Post([] {})) ++posted;
    CHECK(posted == (taken == 0 ? limit : taken));  // as many as there was room for
    for (std::size_t i = 0; i <= taken && mailbox.HasMail(); ++i) mailbox.Take();
    if (taken == limit) break;
    // One at a time: each makes room for one.
    for (int i = 0; i < 3; ++i) {
      while (mailbox.Post([] {})) {
      }
      mailbox.Take();
      CHECK(mailbox.Post([] {}));
      CHECK_FALSE(mailbox.Post([] {}));
    }
    for (std::size_t i = 0; i <= taken && mailbox.HasMail(); ++i) mailbox.Take();
  }
  RunAll(mailbox);
  for (std::size_t i = 0; i < limit; ++i) CHECK(mailbox.Post([] {}));
  CHECK_FALSE(mailbox.Post([] {}));
}

TEST_CASE("a large limit is kept to a 64th, never passed, and all free when all has run",
          "[loop][mailbox]") {
  const auto limit =
      GENERATE(std::size_t{128}, std::size_t{1000}, std::size_t{4096}, std::size_t{10'000});
  CAPTURE(limit);
  Mailbox mailbox(limit);
  const auto fill = [&] {
    std::size_t posted = 0;
    while (mailbox.Post([] {})) ++posted;
    return posted;
  };
  const std::size_t slack = std::min<std::size_t>(limit / 64, 64);
  for (int round = 0; round < 5; ++round) {
    CHECK(fill() == limit);
    std::size_t waiting = limit;
    for (std::size_t take = 1; take < limit / 2; take = take * 2 + 1) {
      for (std::size_t i = 0; i < take; ++i) mailbox.Take();
      waiting -= take;
      waiting += fill();
      CHECK(waiting <= limit);
      CHECK(waiting > limit - slack);
    }
    CHECK(static_cast<std::size_t>(RunAll(mailbox)) == waiting);
  }
}

TEST_CASE("many posters together never pass the limit", "[loop][mailbox]") {
  const auto limit = GENERATE(std::size_t{3}, std::size_t{100}, std::size_t{1000});
  constexpr int kThreads = 4;
  constexpr int kPosts = 20'000;
  Mailbox mailbox(limit);
  std::atomic<int> refused{0};
  std::atomic<int> finished{0};
  int ran = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < kPosts; ++k) {
        if (!mailbox.Post([&ran] { ++ran; })) ++refused;
      }
      ++finished;
    });
  }
  // What waits is what has been taken over in one piece, and no more.
  std::size_t most = 0;
  while (finished < kThreads || mailbox.HasMail()) {
    std::size_t waiting = 0;
    while (mailbox.HasMail() && waiting < limit) {
      mailbox.Take()();
      ++waiting;
    }
    most = std::max(most, waiting);
    std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(ran + refused == kThreads * kPosts);
  CHECK(ran >= static_cast<int>(limit));
  std::size_t room = 0;
  while (mailbox.Post([] {})) ++room;
  CHECK(room == limit);  // not one is lost
  CHECK(static_cast<std::size_t>(RunAll(mailbox)) == limit);
}

TEST_CASE("posters that all find it full fill it exactly", "[loop][mailbox]") {
  // Nobody takes: so what was let in is what waits.
  constexpr std::size_t kLimit = 200;
  for (int round = 0; round < 50; ++round) {
    Mailbox mailbox(kLimit);
    std::atomic<std::size_t> taken{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int k = 0; k < 100; ++k) taken += mailbox.Post([] {}) ? 1 : 0;
      });
    }
    for (std::thread& thread : threads) thread.join();
    REQUIRE(taken <= kLimit);
    REQUIRE(static_cast<std::size_t>(RunAll(mailbox)) == taken);
  }
}
