// Of many seeds the bad one is named, whatever it does to its process, and nobody is left behind.

#include "simulation/campaign.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <map>
#include <string>

#include "base/check.h"
#include "support/catch.h"

using std::chrono::milliseconds;
using std::chrono::seconds;
using weir::sim::CampaignOptions;
using weir::sim::CampaignResult;
using weir::sim::Choices;
using weir::sim::Finding;
using weir::sim::Life;
using weir::sim::Outcome;
using weir::sim::RunCampaign;
using weir::sim::Stream;

namespace {

// By what a life knows its seed. (Of millions two have the same: so a campaign here has few.)
std::uint32_t MarkOf(Choices& choices) { return choices.Below(Stream::kPlan, 1U << 31); }
std::uint32_t MarkOf(std::uint64_t seed) {
  Choices choices(seed);
  return MarkOf(choices);
}

[[noreturn]] Outcome Hang() {
  for (;;) ::pause();
}

// Quiet, but for one seed, which does `bad`.
template <class Bad>
Life QuietBut(std::uint64_t seed, Bad bad) {
  return [mark = MarkOf(seed), bad](Choices& choices) -> Outcome {
    static_cast<void>(std::signal(SIGABRT, SIG_DFL));  // not the test framework's
    if (MarkOf(choices) == mark) return bad();
    return {.finding = "",
            .tally = {.calls = 2, .faults = 3, .turns = 4, .connections = 5, .bytes = 6}};
  };
}

Outcome MadeUp() { return {.finding = "made up: it", .tally = {}}; }

Outcome FailCheck() {
  weir::Check(false, "the slot is free");
  return {};
}

// With it nobody may be left.
CampaignResult Run(const Life& life, const CampaignOptions& options) {
  CampaignResult result = RunCampaign(life, options);
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
  CHECK(errno == ECHILD);
  return result;
}

// The texts by their seeds; and as one line, which a failed test can show.
std::map<std::uint64_t, std::string> TextsOf(const CampaignResult& result) {
  std::map<std::uint64_t, std::string> texts;
  for (const Finding& finding : result.findings) texts[finding.seed] = finding.text;
  return texts;
}
std::string LineOf(const CampaignResult& result) {
  std::string line;
  for (const auto& [seed, text] : TextsOf(result))
    line += std::to_string(seed) + ": " + text + "; ";
  return line;
}

}  // namespace

TEST_CASE("every seed is played once", "[campaign]") {
  const std::size_t jobs = GENERATE(std::size_t{1}, std::size_t{3}, std::size_t{256});
  const Life quiet = QuietBut(0, MadeUp);
  const CampaignResult result = Run(quiet, {.first_seed = 1, .seeds = 500, .jobs = jobs});
  CHECK(result.seeds == 500);
  CHECK(result.tally.calls == 1000);
  CHECK(result.tally.faults == 1500);
  CHECK(result.tally.turns == 2000);
  CHECK(result.tally.connections == 2500);
  CHECK(result.tally.bytes == 3000);
  CHECK(result.findings.empty());
  CHECK_FALSE(result.interrupted);
}

TEST_CASE("the first and the last seed are among them, and no other", "[campaign]") {
  const auto finds = [](std::uint64_t bad) {
    return !Run(QuietBut(bad, MadeUp), {.first_seed = 100, .seeds = 10, .jobs = 2})
                .findings.empty();
  };
  CHECK_FALSE(finds(99));
  CHECK(finds(100));
  CHECK(finds(109));
  CHECK_FALSE(finds(110));
}

TEST_CASE("the campaign ends with a finding, and tells its seed", "[campaign]") {
  CampaignOptions options{.seeds = 1000, .jobs = 2};
  SECTION("that a life has told") {
    CHECK(TextsOf(Run(QuietBut(17, MadeUp), options)) ==
          std::map<std::uint64_t, std::string>{{17, "made up: it"}});
  }
  SECTION("of which a process died") {
    CHECK(TextsOf(Run(QuietBut(23, FailCheck), options)) ==
          std::map<std::uint64_t, std::string>{{23, "SIGABRT, check failed: the slot is free"}});
  }
  SECTION("that came to no end") {
    options.patience = seconds(1);
    CHECK(LineOf(Run(QuietBut(29, Hang), options)) == "29: too long: no end within 1 s; ");
  }
}

TEST_CASE("a campaign that keeps going plays all seeds, whoever dies of them", "[campaign]") {
  std::map<std::uint32_t, Outcome (*)()> bad;
  for (const std::uint64_t seed : {17U, 18U, 19U}) bad[MarkOf(seed)] = MadeUp;
  for (const std::uint64_t seed : {23U, 24U, 25U}) bad[MarkOf(seed)] = FailCheck;
  bad[MarkOf(29)] = Hang;
  const Life life = [&bad](Choices& choices) -> Outcome {
    static_cast<void>(std::signal(SIGABRT, SIG_DFL));
    const auto found = bad.find(MarkOf(choices));
    return found == bad.end() ? Outcome{} : found->second();
  };
  CampaignOptions options{.seeds = 50, .jobs = 2, .findings = 20, .patience = seconds(1)};

  const CampaignResult result = Run(life, options);
  std::string seeds;
  for (const auto& [seed, text] : TextsOf(result)) seeds += std::to_string(seed) + " ";
  CHECK(seeds == "17 18 19 23 24 25 29 ");
  CHECK(result.seeds == 50);

  options.findings = 5;
  CHECK(Run(life, options).findings.size() == 5);
}

TEST_CASE("what was said of one seed is not told of another", "[campaign]") {
  const Life life = [silent = MarkOf(3)](Choices& choices) -> Outcome {
    if (MarkOf(choices) == silent) ::kill(::getpid(), SIGKILL);
    static_cast<void>(std::fputs("check failed: of no matter\n", stderr));
    static_cast<void>(std::fflush(stderr));
    return {};
  };
  CHECK(TextsOf(Run(life, {})) == std::map<std::uint64_t, std::string>{{3, "SIGKILL"}});
}

TEST_CASE("the campaign ends when its time is up", "[campaign]") {
  const CampaignResult result = Run(QuietBut(0, MadeUp), {.time = milliseconds(50), .jobs = 2});
  CHECK(result.seeds > 0);
  CHECK(result.time >= milliseconds(50));
  CHECK(result.time < seconds(10));
}

TEST_CASE("a signal ends the campaign in order", "[campaign]") {
  const int signal = GENERATE(SIGINT, SIGTERM);
  const CampaignResult result = Run(QuietBut(5,
                                             [signal]() -> Outcome {
                                               ::kill(::getppid(), signal);
                                               return {};
                                             }),
                                    {.jobs = 2});
  CHECK(result.interrupted);
  CHECK(result.seeds >= 5);
  CHECK(result.findings.empty());
}

TEST_CASE("a second signal ends it at once", "[campaign]") {
  const CampaignResult result = Run(QuietBut(5,
                                             []() -> Outcome {
                                               ::kill(::getppid(), SIGINT);
                                               ::kill(::getppid(), SIGTERM);
                                               Hang();
                                             }),
                                    {.jobs = 2});
  CHECK(result.interrupted);
  CHECK(result.findings.empty());
  CHECK(result.time < seconds(10));  // of the 20 that a seed may take
}

TEST_CASE("workers leave Ctrl-C to the campaign", "[campaign]") {
  const int signal = GENERATE(SIGINT, SIGTERM);
  const CampaignResult result = Run(QuietBut(5,
                                             [signal]() -> Outcome {
                                               ::kill(::getpid(), signal);
                                               return {};
                                             }),
                                    {.seeds = 10});
  CHECK(result.seeds == 10);
  CHECK(result.findings.empty());
}
