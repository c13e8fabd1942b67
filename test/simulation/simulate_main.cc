// weir-simulate: plays simulated lives of a server until one of them goes wrong, and cuts down what
// has led to that.
//
// What it prints is the same each time for --seed and --schedule: no times are in it.
//
// EXIT CODE  0 nothing was found, 1 something was (or a file could not be used), 2 wrong usage.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "simulation/campaign.h"
#include "simulation/play.h"
#include "simulation/schedule_text.h"
#include "simulation/shrink.h"
#include "simulation/simulate_options.h"
#include "simulation/try_in_child.h"

namespace weir::sim {
namespace {

using std::chrono::ceil;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr seconds kDefaultTime{10};
constexpr std::size_t kMostFindings = 20;
constexpr seconds kPatience{20};                // with a life, of which there are hundreds a second
constexpr milliseconds kMostTryPatience{1000};  // when many are tried
constexpr Effort kShrinkEffort{.time = seconds(30)};

[[noreturn]] void ThrowErrno(const std::string& what) {
  throw std::runtime_error(what + ": " + std::error_code(errno, std::system_category()).message());
}

std::string ReadFile(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"),
                                                             &std::fclose);
  if (file == nullptr) ThrowErrno(path);
  std::string text;
  std::array<char, 65536> part{};
  while (const std::size_t size = std::fread(part.data(), 1, part.size(), file.get())) {
    text.append(part.data(), size);
  }
  if (std::ferror(file.get()) != 0) ThrowErrno(path);
  return text;
}

void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  if (!(file << text << std::flush)) ThrowErrno(path);
}

Choices ChoicesOf(const SimulateOptions& options) {
  if (options.seed) return Choices(*options.seed);
  try {
    return Choices(ParseSchedule(ReadFile(options.schedule)));
  } catch (const ScheduleError& error) {
    throw std::runtime_error(options.schedule + ": " + error.what());
  }
}

std::string ToText(std::uint64_t seeds, const Tally& tally) {
  return fmt::format("simulate: {} seeds, {} calls, {} faults, {} turns, {} connections, {} bytes",
                     seeds, tally.calls, tally.faults, tally.turns, tally.connections, tally.bytes);
}

int PlayOne(const SimulateOptions& options) {
  Choices choices = ChoicesOf(options);
  const Outcome outcome = Play(choices, options.trace ? stdout : nullptr);
  const bool found = !outcome.finding.empty();
  if (found) fmt::print("finding: {}\n", outcome.finding);
  fmt::print("{}: {} findings\n", ToText(1, outcome.tally), found ? 1 : 0);
  return found ? 1 : 0;
}

// Those that are not quiet.
std::ptrdiff_t CountLoud(const Schedule& schedule) {
  std::ptrdiff_t count = 0;
  for (const auto& choices : schedule.streams) {
    count += std::ranges::count_if(choices, [](std::uint32_t choice) { return choice != 0; });
  }
  return count;
}

// Many schedules on the way may have no end: none is to take much more than the first did.
milliseconds TryPatience(const Verdict& failing, steady_clock::duration time) {
  if (failing.end == End::kTooLong) return kMostTryPatience;
  return std::min(kMostTryPatience, milliseconds(100) + 10 * ceil<milliseconds>(time));
}

void ShrinkFinding(const Life& life, std::uint64_t seed) {
  const steady_clock::time_point begin = steady_clock::now();
  const Verdict failing = TryInChild(life, seed, kPatience);
  const milliseconds patience = TryPatience(failing, steady_clock::now() - begin);
  const auto try_schedule = [&life, patience](const Schedule& schedule) {
    return TryInChild(life, schedule, patience);
  };
  if (!SameFailure(try_schedule(failing.taken), failing)) {
    fmt::print("not shrunk: it {} when it is played again\n",
               failing.Failed() ? "fails in another way" : "does not fail");
    return;
  }
  const Shrunk shrunk = Shrink(failing, try_schedule, kShrinkEffort);
  const std::string file = fmt::format("weir-finding-{}.schedule", seed);
  WriteFile(file, fmt::format("# seed {}: {}\n{}", seed, shrunk.verdict.text,
                              ToText(shrunk.verdict.taken)));
  fmt::print("shrunk: {} choices that are not 0 to {} in {} tries{}\nfinding: {}\n",
             CountLoud(failing.taken), CountLoud(shrunk.verdict.taken), shrunk.tries,
             shrunk.minimal ? "" : ", and more would go", shrunk.verdict.text);
  fmt::print("replay: tools/simulate --schedule {} --trace\n", file);
}

// Microseconds, so that two runs have no seed in common unless they play a million in a second.
std::uint64_t FreshSeed() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

CampaignOptions ToCampaign(const SimulateOptions& options) {
  CampaignOptions campaign;
  campaign.first_seed = options.first.value_or(options.seeds ? 1 : FreshSeed());
  if (options.seeds) campaign.seeds = *options.seeds;
  if (options.time || !options.seeds) campaign.time = options.time.value_or(kDefaultTime);
  campaign.jobs = options.jobs;
  campaign.findings = options.keep_going ? kMostFindings : 1;
  campaign.patience = kPatience;
  campaign.progress = stderr;
  return campaign;
}

int PlayMany(const SimulateOptions& options) {
  const Life life = [](Choices& choices) { return Play(choices); };
  const CampaignOptions campaign = ToCampaign(options);
  fmt::print("seeds from {} on, {} processes\n", campaign.first_seed, campaign.jobs);
  const CampaignResult result = RunCampaign(life, campaign);
  for (const Finding& finding : result.findings) {
    fmt::print("\nseed {}\nfinding: {}\n", finding.seed, finding.text);
    fmt::print("replay: tools/simulate --seed {} --trace\n", finding.seed);
    static_cast<void>(std::fflush(stdout));
    if (options.shrink && !result.interrupted) ShrinkFinding(life, finding.seed);
  }
  fmt::print("{}, {:.1f} s: {} findings\n", ToText(result.seeds, result.tally), result.time.count(),
             result.findings.size());
  return result.findings.empty() ? 0 : 1;
}

int Main(int argc, char** argv) {
  try {
    const std::optional<SimulateOptions> options = ParseSimulateOptions(argc, argv);
    if (!options) {
      fmt::print("{}", kSimulateHelp);
      return 0;
    }
    const int code = options->IsOneLife() ? PlayOne(*options) : PlayMany(*options);
    if (std::fflush(stdout) != 0) ThrowErrno("stdout");
    return code;
  } catch (const UsageError& error) {
    fmt::print(stderr, "weir-simulate: {} (see --help)\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "weir-simulate: {}\n", error.what());
    return 1;
  }
}

}  // namespace
}  // namespace weir::sim

int main(int argc, char** argv) { return weir::sim::Main(argc, argv); }
