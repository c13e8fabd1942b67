#include "simulation/simulate_options.h"

#include <fmt/format.h>
#include <getopt.h>

#include <array>
#include <charconv>
#include <limits>
#include <span>
#include <system_error>

#include "simulation/campaign.h"

namespace weir::sim {

const std::string_view kSimulateHelp =
    "Usage: tools/simulate [OPTION...]\n"
    "Plays simulated lives of a server, each decided by its seed, until one is found in which it\n"
    "does something wrong; cuts down what has led to that, and says how to play it again.\n"
    "\n"
    "  --seconds S        for how long (10, unless --seeds is given); fractions are welcome\n"
    "  --seeds COUNT      how many\n"
    "  --first N          the first seed (1 with --seeds; else a fresh one each time)\n"
    "  --jobs N           processes that play (as many as processors)\n"
    "  --keep-going       up to 20 findings, not one\n"
    "  --no-shrink        findings as they are; else cutting takes up to 30 s for each, and "
    "leaves\n"
    "                     weir-finding-SEED.schedule in the current folder\n"
    "  --seed N           plays that one, in one process that a debugger may hold\n"
    "  --schedule FILE    the same with what a finding was cut down to\n"
    "  --trace            tells each step of --seed or --schedule\n"
    "  --help             this text\n"
    "\n"
    "Exit code: 0 nothing was found, 1 something was, 2 wrong usage.\n";

namespace {

enum Code : int {
  kFirstCode = 256,
  kSeed,
  kSeeds,
  kFirst,
  kSeconds,
  kJobs,
  kKeepGoing,
  kNoShrink,
  kTrace,
  kScheduleFile,
  kShowHelp
};

constexpr std::uint64_t kMostSeeds = std::numeric_limits<std::uint64_t>::max();

std::string_view OptionAt(std::span<char* const> arguments, int index) {
  return arguments[static_cast<std::size_t>(index)];
}

// What getopt_long() did not take: a letter (there are none), or else a whole argument.
std::string Rejected(std::span<char* const> arguments) {
  if (optopt > 0 && optopt < kFirstCode) return fmt::format("'-{}'", static_cast<char>(optopt));
  return fmt::format("'{}'", OptionAt(arguments, optind - 1));
}

template <class Number>
Number ParseNumber(std::string_view option, std::string_view text, Number least, Number most) {
  Number value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  // Not "value < least || value > most": that lets NaN pass.
  if (error != std::errc() || stop != end || !(value >= least && value <= most)) {
    throw UsageError(fmt::format("{} '{}': not a number from {} to {}", option, text, least, most));
  }
  return value;
}

std::chrono::milliseconds ParseSeconds(std::string_view text) {
  const std::chrono::duration<double> time(ParseNumber("--seconds", text, 0.001, 1e6));
  return std::chrono::ceil<std::chrono::milliseconds>(time);
}

// False for one that it does not know.
bool Take(int code, std::string_view value, SimulateOptions& options) {
  switch (code) {
    case kSeed:
      options.seed = ParseNumber<std::uint64_t>("--seed", value, 0, kMostSeeds);
      return true;
    case kSeeds:
      options.seeds = ParseNumber<std::uint64_t>("--seeds", value, 1, kMostSeeds);
      return true;
    case kFirst:
      options.first = ParseNumber<std::uint64_t>("--first", value, 0, kMostSeeds);
      return true;
    case kSeconds:
      options.time = ParseSeconds(value);
      return true;
    case kJobs:
      options.jobs = ParseNumber<std::size_t>("--jobs", value, 1, kMaxJobs);
      return true;
    case kKeepGoing:
      options.keep_going = true;
      return true;
    case kNoShrink:
      options.shrink = false;
      return true;
    case kTrace:
      options.trace = true;
      return true;
    case kScheduleFile:
      if (value.empty()) throw UsageError("--schedule '': not a file");
      options.schedule = value;
      return true;
    default:
      return false;
  }
}

void CheckTogether(const SimulateOptions& options, bool of_many) {
  if (options.seed && !options.schedule.empty()) {
    throw UsageError("--seed and --schedule exclude each other");
  }
  if (options.IsOneLife() && of_many) {
    throw UsageError(fmt::format("{} plays one life: only --trace goes with it",
                                 options.seed ? "--seed" : "--schedule"));
  }
  if (options.trace && !options.IsOneLife()) {
    throw UsageError("--trace needs --seed or --schedule");
  }
}

}  // namespace

std::optional<SimulateOptions> ParseSimulateOptions(int argc, char** argv) {
  static constexpr std::array<option, 11> kOptions = {{
      {"seed", required_argument, nullptr, kSeed},
      {"seeds", required_argument, nullptr, kSeeds},
      {"first", required_argument, nullptr, kFirst},
      {"seconds", required_argument, nullptr, kSeconds},
      {"jobs", required_argument, nullptr, kJobs},
      {"keep-going", no_argument, nullptr, kKeepGoing},
      {"no-shrink", no_argument, nullptr, kNoShrink},
      {"trace", no_argument, nullptr, kTrace},
      {"schedule", required_argument, nullptr, kScheduleFile},
      {"help", no_argument, nullptr, kShowHelp},
      {nullptr, 0, nullptr, 0},
  }};
  const std::span<char* const> arguments(argv, static_cast<std::size_t>(argc));
  SimulateOptions options;
  options.jobs = AllowedProcessors();
  bool of_many = false;  // an option that has no meaning for one life
  opterr = 0;
  for (int found = 0; (found = getopt_long(argc, argv, ":", kOptions.data(), nullptr)) != -1;) {
    if (found == kShowHelp) return std::nullopt;
    if (found == ':') {
      throw UsageError(fmt::format("{} needs a value", OptionAt(arguments, optind - 1)));
    }
    if (!Take(found, optarg != nullptr ? optarg : "", options)) {
      throw UsageError("unknown option " + Rejected(arguments));
    }
    of_many = of_many || (found != kSeed && found != kScheduleFile && found != kTrace);
  }
  if (optind < argc) {
    throw UsageError(fmt::format("unexpected argument '{}'", OptionAt(arguments, optind)));
  }
  CheckTogether(options, of_many);
  return options;
}

}  // namespace weir::sim
