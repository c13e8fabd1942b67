// Whatever a life does to its process, the one who tries it lives on, and knows what happened.

#include "simulation/try_in_child.h"

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>

#include "base/check.h"
#include "support/catch.h"

using std::chrono::milliseconds;
using weir::sim::Choices;
using weir::sim::End;
using weir::sim::Life;
using weir::sim::Outcome;
using weir::sim::Schedule;
using weir::sim::Stream;
using weir::sim::TryInChild;
using weir::sim::Verdict;

namespace {

constexpr milliseconds kLimit{20'000};

void Draw(Choices& choices) {
  for (std::uint32_t bound = 2; bound < 1000; ++bound) {
    choices.Below(Stream::kPlan, bound);
    choices.Below(Stream::kFaults, 7);
  }
  choices.Below(Stream::kOrder, 1'000'000'000);
}

// A life that draws, and then does `last`.
template <class Last>
Life DrawThen(Last last) {
  return [last](Choices& choices) -> Outcome {
    static_cast<void>(std::signal(SIGABRT, SIG_DFL));  // not the test framework's
    Draw(choices);
    last();
    return {};
  };
}

void Say(const std::string& text) {
  static_cast<void>(std::fputs(text.c_str(), stderr));
  static_cast<void>(std::fflush(stderr));
}

milliseconds CpuTimeOfChildren() {
  rusage usage{};
  REQUIRE(::getrusage(RUSAGE_CHILDREN, &usage) == 0);
  return milliseconds((usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
                      (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000);
}

}  // namespace

TEST_CASE("a life that goes well tells its tally, and its choices", "[child]") {
  const Life life = [](Choices& choices) -> Outcome {
    Draw(choices);
    return {.finding = "", .tally = {.calls = 5, .bytes = 7}};
  };
  const Verdict verdict = TryInChild(life, 42, kLimit);
  Choices same(42);
  Draw(same);
  CHECK(verdict.end == End::kQuiet);
  CHECK(verdict.text.empty());
  CHECK(verdict.tally.calls == 5);
  CHECK(verdict.tally.bytes == 7);
  CHECK(verdict.taken == same.taken());
}

TEST_CASE("a finding is handed over", "[child]") {
  const Life life = [](Choices&) -> Outcome { return {.finding = "bytes: 3", .tally = {}}; };
  const Verdict verdict = TryInChild(life, 1, kLimit);
  CHECK(verdict.end == End::kFinding);
  CHECK(verdict.text == "bytes: 3");
  CHECK(verdict.Class() == "bytes");
  CHECK(verdict.taken == Schedule{});
}

TEST_CASE("a failed check is told, and its schedule plays it again", "[child]") {
  const Life life = DrawThen([] { weir::Check(false, "the slot is free"); });
  const Verdict verdict = TryInChild(life, 42, kLimit);
  Choices same(42);
  Draw(same);
  CHECK(verdict.end == End::kDeath);
  CHECK(verdict.text == "SIGABRT, check failed: the slot is free");
  CHECK(verdict.Class() == verdict.text);
  CHECK(verdict.taken == same.taken());

  const Verdict again = TryInChild(life, verdict.taken, kLimit);
  CHECK(SameFailure(again, verdict));
  CHECK(again.taken == verdict.taken);
}

TEST_CASE("other deaths have a name and their last words, too", "[child]") {
  const auto text_of = [](const Life& life) {
    const Verdict verdict = TryInChild(life, 1, kLimit);
    CHECK(verdict.end == End::kDeath);
    CHECK(verdict.taken[Stream::kOrder].size() == 1);
    return verdict.text;
  };
  CHECK(text_of(DrawThen([] { ::kill(::getpid(), SIGKILL); })) == "SIGKILL");
  CHECK(text_of(DrawThen([] { throw std::runtime_error("thrown"); })) ==
        "SIGABRT, what():  thrown");
  CHECK(text_of(DrawThen([] {
          Say("one\n two \n\n");
          ::_exit(3);
        })) == "exit code 3, two");
  CHECK(text_of(DrawThen([] {
          Say("==1==ERROR: found\n    #0 somewhere\nSUMMARY: found here\n==1==ABORTING\n");
          ::_exit(1);
        })) == "exit code 1, SUMMARY: found here");
}

TEST_CASE("a life that says much is not stopped by that", "[child]") {
  const Verdict verdict = TryInChild(DrawThen([] {
                                       Say(std::string(10'000'000, 'x') + "\nlast\n");
                                       ::_exit(2);
                                     }),
                                     1, kLimit);
  CHECK(verdict.text == "exit code 2, last");
}

TEST_CASE("a life without an end is ended, and its choices are known", "[child]") {
  Choices same(42);
  Draw(same);
  SECTION("one that computes") {
    const Life life = DrawThen([] {
      for (volatile bool for_ever = true; for_ever;) {
      }
    });
    const milliseconds before = CpuTimeOfChildren();
    const Verdict verdict = TryInChild(life, 42, milliseconds(50));
    CHECK(CpuTimeOfChildren() - before < milliseconds(250));
    CHECK(verdict.end == End::kTooLong);
    CHECK(verdict.text == "too long: no end within 0.05 s");
    CHECK(verdict.taken == same.taken());
  }
  SECTION("one that waits") {
    const Verdict verdict = TryInChild(DrawThen([] { ::pause(); }), 42, milliseconds(50));
    CHECK(verdict.end == End::kTooLong);
    CHECK(verdict.taken == same.taken());
  }
}

TEST_CASE("a life that chooses without end does not overrun its record", "[child]") {
  const Life life = [](Choices& choices) -> Outcome {
    for (int left = 5'000'000; left > 0; --left) choices.Below(Stream::kOrder, 2);
    return {.finding = "many", .tally = {}};
  };
  const Verdict verdict = TryInChild(life, 1, kLimit);
  CHECK(verdict.text == "many");
  CHECK(verdict.taken[Stream::kOrder].size() == std::size_t{1} << 22);
}
