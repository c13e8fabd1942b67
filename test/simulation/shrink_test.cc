// What is left has to fail in the same way, and no part of it may be without need.

#include "simulation/shrink.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "support/catch.h"

using weir::sim::End;
using weir::sim::Schedule;
using weir::sim::Shrink;
using weir::sim::Shrunk;
using weir::sim::Stream;
using weir::sim::TrySchedule;
using weir::sim::Verdict;

namespace {

using Numbers = std::vector<std::uint32_t>;

// Fails with `text`, or not if that is empty; all of the schedule was asked for.
Verdict VerdictOf(const Schedule& schedule, std::string text) {
  return {.end = text.empty() ? End::kQuiet : End::kFinding,
          .text = std::move(text),
          .tally = {},
          .taken = schedule};
}

// All three streams full of numbers below `bound`.
Schedule Noise(std::uint32_t bound) {
  std::mt19937 random(1);
  Schedule schedule;
  for (Numbers& choices : schedule.streams) {
    for (int left = 300; left > 0; --left)
      choices.push_back(static_cast<std::uint32_t>(random()) % bound);
  }
  return schedule;
}

bool Has(const Numbers& choices, std::uint32_t choice) {
  return std::ranges::find(choices, choice) != choices.end();
}

Verdict SevenAfterThree(const Schedule& schedule) {
  const Numbers& faults = schedule[Stream::kFaults];
  const auto three = std::ranges::find(faults, 3U);
  const bool fails = std::find(three, faults.end(), 7U) != faults.end();
  return VerdictOf(schedule, fails ? "order: 7 after 3" : "");
}

}  // namespace

TEST_CASE("nothing is left but what the failure needs", "[shrink]") {
  const Shrunk shrunk = Shrink(SevenAfterThree(Noise(10)), SevenAfterThree, {});
  CHECK(shrunk.verdict.taken == Schedule{{Numbers{}, Numbers{3, 7}, Numbers{}}});
  CHECK(shrunk.verdict.text == "order: 7 after 3");
  CHECK(shrunk.minimal);
}

TEST_CASE("a smaller schedule that fails in another way is no success", "[shrink]") {
  const TrySchedule try_schedule = [](const Schedule& schedule) {
    const Numbers& plan = schedule[Stream::kPlan];
    if (Has(plan, 9) && Has(plan, 5)) return VerdictOf(schedule, "both: 9 and 5");
    return VerdictOf(schedule, Has(plan, 9) ? "one: 9" : "");
  };
  SECTION("one more detail in the same class is") {
    const TrySchedule with_size = [&try_schedule](const Schedule& schedule) {
      Verdict verdict = try_schedule(schedule);
      if (verdict.Failed()) verdict.text += " of " + std::to_string(schedule.Size());
      return verdict;
    };
    const Shrunk shrunk = Shrink(with_size(Noise(10)), with_size, {});
    CHECK(shrunk.verdict.text == "both: 9 and 5 of 2");
  }
  SECTION("a death by the same signal, of another check, is not") {
    const TrySchedule dies = [&try_schedule](const Schedule& schedule) {
      Verdict verdict = try_schedule(schedule);
      if (verdict.Failed()) verdict.end = End::kDeath;
      if (verdict.Failed()) verdict.text = "SIGABRT, check failed: " + verdict.text;
      return verdict;
    };
    CHECK(Shrink(dies(Noise(10)), dies, {}).verdict.taken.Size() == 2);
  }
}

TEST_CASE("a number is lowered to the least that fails, in few tries", "[shrink]") {
  const TrySchedule at_least = [](const Schedule& schedule) {
    const Numbers& order = schedule[Stream::kOrder];
    const bool fails = order.size() > 1 && order[0] >= 1 && order[1] >= 1'000'003;
    return VerdictOf(schedule, fails ? "too many" : "");
  };
  Schedule schedule;
  schedule[Stream::kOrder] = {4'000'000'000, 4'100'000'000};
  const Shrunk shrunk = Shrink(at_least(schedule), at_least, {});
  CHECK(shrunk.verdict.taken[Stream::kOrder] == Numbers{1, 1'000'003});
  CHECK(shrunk.tries < 200);
}

TEST_CASE("what has nothing to do with it goes first, a stream in one try", "[shrink]") {
  Schedule schedule;
  schedule[Stream::kPlan].assign(1000, 1);
  schedule[Stream::kFaults] = {3, 7};
  schedule[Stream::kOrder].assign(10, 1);
  const Shrunk shrunk = Shrink(SevenAfterThree(schedule), SevenAfterThree, {.tries = 3});
  CHECK(shrunk.verdict.taken.Size() == 2);
}

TEST_CASE("zeros take the place of what cannot be left out", "[shrink]") {
  const TrySchedule fifth = [](const Schedule& schedule) {
    const Numbers& plan = schedule[Stream::kPlan];
    return VerdictOf(schedule, plan.size() > 4 && plan[4] == 1 ? "the fifth" : "");
  };
  Schedule schedule;
  schedule[Stream::kPlan] = {1, 1, 1, 1, 1, 1, 1, 1, 0, 0};
  CHECK(Shrink(fifth(schedule), fifth, {}).verdict.taken[Stream::kPlan] == Numbers{0, 0, 0, 0, 1});
}

TEST_CASE("it goes on with what was answered, not with what it proposed", "[shrink]") {
  std::size_t tries = 0;
  // Asks for one choice of the plan, below 8, and never for more.
  const TrySchedule asks_once = [&tries](const Schedule& schedule) {
    ++tries;
    const Numbers& plan = schedule[Stream::kPlan];
    const std::uint32_t choice = plan.empty() ? 0 : plan[0] % 8;
    Verdict verdict = VerdictOf(schedule, choice == 5 ? "five" : "");
    verdict.taken = {{Numbers{choice}, Numbers{}, Numbers{}}};
    return verdict;
  };
  Verdict failing = VerdictOf(Noise(1000), "five");
  failing.taken[Stream::kPlan][0] = 805;
  CHECK(Shrink(failing, asks_once, {}).verdict.taken[Stream::kPlan] == Numbers{5});
  CHECK(tries < 20);
}

TEST_CASE("it ends when its effort is spent, with the best so far", "[shrink]") {
  std::size_t tries = 0;
  const TrySchedule counted = [&tries](const Schedule& schedule) {
    ++tries;
    return SevenAfterThree(schedule);
  };
  Verdict failing = SevenAfterThree(Noise(10));
  SECTION("tries") {
    const std::size_t most = GENERATE(std::size_t{1}, std::size_t{7}, std::size_t{30});
    const Shrunk shrunk = Shrink(failing, counted, {.tries = most});
    CHECK(tries == most);
    CHECK(shrunk.tries == most);
    CHECK_FALSE(shrunk.minimal);
    CHECK(SevenAfterThree(shrunk.verdict.taken).Failed());
    CHECK(shrunk.verdict.taken.Size() <= 600);  // one stream was emptied by the first try
  }
  SECTION("time") {
    failing.taken = {{Numbers{1, 0, 0}, Numbers{0, 3, 7}, Numbers{0}}};
    const Shrunk shrunk = Shrink(failing, counted, {.time = std::chrono::milliseconds(0)});
    CHECK(tries == 0);
    CHECK(shrunk.verdict.taken == Schedule{{Numbers{1}, Numbers{0, 3, 7}, Numbers{}}});
    CHECK_FALSE(shrunk.minimal);
  }
}
