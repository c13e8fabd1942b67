#include "models/options.h"

#include <fmt/format.h>
#include <getopt.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "echo_load/failure.h"
#include "echo_load/parse_number.h"
#include "models/guest.h"

namespace models {

using echo_load::ParseNumber;
using echo_load::UsageError;

std::string HelpText() {
  std::string text =
      "Usage: weir-models [OPTION...]                 measure the models side by side\n"
      "       weir-models calls [OPTION...]           the system calls of a request, by name\n"
      "       weir-models edges [--json]              replay what epoll tells, and when\n"
      "       weir-models serve MODEL [--port PORT]   one server, for nc and strace\n"
      "\n"
      "  --model LIST         of the names below, with commas between them (all)\n"
      "  --also NAME=COMMAND  a server of your own beside them, a guest; as often as you like\n"
      "  --connections LIST   idle connections beside the active ones: a load each "
      "(0,10,1000,10000)\n"
      "  --active N           connections with a request in flight (10)\n"
      "  --seconds S          of each load; fractions are welcome (0.3)\n"
      "  --rounds N           how often each is measured; the table has medians (6)\n"
      "  --plot FILE          a chart (SVG), too; needs gnuplot\n"
      "  --json               one JSON document instead of the tables\n"
      "  --port PORT          for serve; 0 takes a free one (0)\n"
      "  --help               this text\n"
      "\n"
      "models:\n";
  for (const Model& model : AllModels()) {
    text += fmt::format("  {:<18} {}\n", model.name, model.title);
  }
#ifndef WEIR_HAS_LIBURING
  text += "  (io_uring is left out: liburing-dev was not there when this was built)\n";
#endif
  text +=
      "\n"
      "A guest is what `sh -c 'exec COMMAND'` becomes. It echoes, says 'listening on\n"
      "tcp://HOST:PORT' on stdout, and ends with SIGTERM. Its system calls are not counted under\n"
      "load: `calls` sees them.\n"
      "\n"
      "Each server is a process on one CPU, the load is on another. A request is 64 bytes, and\n"
      "every byte of every echo is checked. A model that cannot carry a load is said to, and\n"
      "the others go on. It takes about models x loads x rounds x (seconds + 0.4) s. Where the\n"
      "two CPUs move, as a virtual machine's do, only what was measured while they were near\n"
      "counts, and cells that have too little of it are measured again, half as often at most.\n";
  return text;
}

namespace {

enum Code : int {
  kFirstCode = 256,
  kModel,
  kAlso,
  kConnections,
  kActive,
  kSeconds,
  kRounds,
  kPlot,
  kJson,
  kPort,
  kShowHelp
};

constexpr auto kOptions = std::to_array<option>({
    {"model", required_argument, nullptr, kModel},
    {"also", required_argument, nullptr, kAlso},
    {"connections", required_argument, nullptr, kConnections},
    {"active", required_argument, nullptr, kActive},
    {"seconds", required_argument, nullptr, kSeconds},
    {"rounds", required_argument, nullptr, kRounds},
    {"plot", required_argument, nullptr, kPlot},
    {"json", no_argument, nullptr, kJson},
    {"port", required_argument, nullptr, kPort},
    {"help", no_argument, nullptr, kShowHelp},
    {nullptr, 0, nullptr, 0},
});

template <class Use>
void ForEachItem(std::string_view list, Use use) {
  for (;;) {
    const std::size_t comma = list.find(',');
    use(list.substr(0, comma));
    if (comma == std::string_view::npos) return;
    list.remove_prefix(comma + 1);
  }
}

// Each makes a cell of the table: twice the same would be one cell with two rows.
template <class Item>
void AddOnce(std::string_view option, std::string_view text, Item item, std::vector<Item>& items) {
  if (std::ranges::find(items, item) != items.end()) {
    throw UsageError(fmt::format("{} '{}': named twice", option, text));
  }
  items.push_back(item);
}

const Model& ModelNamed(std::string_view option, std::string_view name) {
  if (const Model* const model = FindModel(name)) return *model;
#ifndef WEIR_HAS_LIBURING
  if (name == "io_uring") {
    throw UsageError(
        fmt::format("{} 'io_uring': left out, for liburing-dev was not there when "
                    "this was built",
                    option));
  }
#endif
  throw UsageError(fmt::format("{} '{}': is none of {}", option, name, ModelNames()));
}

void AddGuest(std::string_view text, Guests& guests) {
  Model guest = ParseGuest(text);
  const auto is_same = [&](const auto& other) { return other->name == guest.name; };
  if (std::ranges::any_of(guests, is_same)) {
    throw UsageError(fmt::format("--also '{}': there is another one of that name", text));
  }
  guests.push_back(std::make_unique<const Model>(guest));
}

// All options of all commands, and which were given.
struct Given {
  MeasureOptions measure;
  std::uint16_t port = 0;
  bool help = false;
  std::vector<std::string_view> names;      // of the options
  std::vector<std::string_view> arguments;  // what is no option
};

void Take(int code, std::string_view value, Given& given) {
  MeasureOptions& measure = given.measure;
  switch (code) {
    case kModel:
      measure.models.clear();
      return ForEachItem(value, [&](std::string_view name) {
        AddOnce("--model", name, &ModelNamed("--model", name), measure.models);
      });
    case kAlso:
      return AddGuest(value, measure.guests);
    case kConnections:
      measure.idle.clear();
      return ForEachItem(value, [&](std::string_view item) {
        const auto idle = ParseNumber<std::size_t>("--connections", item, 0, 1'000'000);
        AddOnce("--connections", item, idle, measure.idle);
      });
    case kActive:
      measure.active = ParseNumber<std::size_t>("--active", value, 1, 100'000);
      return;
    case kSeconds:
      measure.seconds = ParseNumber("--seconds", value, 0.01, 3600.0);
      return;
    case kRounds:
      measure.rounds = ParseNumber<std::size_t>("--rounds", value, 1, 1000);
      return;
    case kPlot:
      if (value.empty()) throw UsageError("--plot '': no file");
      measure.plot = value;
      return;
    case kJson:
      measure.json = true;
      return;
    case kPort:
      given.port = ParseNumber<std::uint16_t>("--port", value, 0, 65535);
      return;
    default:
      given.help = true;
  }
}

Given ParseAll(int argc, char** argv) {
  const std::span<char* const> words(argv, static_cast<std::size_t>(argc));
  const auto word = [&](int index) {
    return std::string_view(words[static_cast<std::size_t>(index)]);
  };
  Given given;
  opterr = 0;
  int index = -1;
  // "-": what is no option comes as code 1, in its place.
  for (int code = 0; (code = getopt_long(argc, argv, "-:", kOptions.data(), &index)) != -1;) {
    if (code == ':') throw UsageError(fmt::format("{} needs a value", word(optind - 1)));
    if (code == '?') {
      const bool is_letter = optopt > 0 && optopt < kFirstCode;
      throw UsageError(is_letter ? fmt::format("unknown option '-{}'", static_cast<char>(optopt))
                                 : fmt::format("unknown option '{}'", word(optind - 1)));
    }
    const std::string_view value = optarg != nullptr ? optarg : "";
    if (code == 1) {
      given.arguments.push_back(value);
      continue;
    }
    given.names.emplace_back(kOptions.at(static_cast<std::size_t>(index)).name);
    Take(code, value, given);
  }
  for (; optind < argc; ++optind) given.arguments.push_back(word(optind));  // behind a "--"
  return given;
}

void AllowOnly(const Given& given, std::string_view command,
               std::initializer_list<std::string_view> known, std::size_t arguments) {
  for (const std::string_view name : given.names) {
    if (std::ranges::find(known, name) == known.end()) {
      throw UsageError(fmt::format("--{} is no option of '{}'", name, command));
    }
  }
  if (given.arguments.size() > arguments) {
    throw UsageError(fmt::format("unexpected argument '{}'", given.arguments[arguments]));
  }
}

}  // namespace

Options ParseOptions(int argc, char** argv) {
  Given given = ParseAll(argc, argv);
  if (given.help) return HelpOptions{};
  MeasureOptions& measure = given.measure;
  if (measure.models.empty()) {
    for (const Model& model : AllModels()) measure.models.push_back(&model);
  }
  for (const auto& guest : measure.guests) measure.models.push_back(guest.get());
  if (given.arguments.empty()) {
    AllowOnly(given, "weir-models",
              {"model", "also", "connections", "active", "seconds", "rounds", "plot", "json"}, 0);
    return std::move(measure);
  }
  const std::string_view command = given.arguments.front();
  if (command == "edges") {
    AllowOnly(given, command, {"json"}, 1);
    return EdgesOptions{.json = measure.json};
  }
  if (command == "calls") {
    AllowOnly(given, command, {"model", "also", "json"}, 1);
    return CallsOptions{.models = std::move(measure.models),
                        .guests = std::move(measure.guests),
                        .json = measure.json};
  }
  if (command == "serve") {
    AllowOnly(given, command, {"port"}, 2);
    if (given.arguments.size() < 2) {
      throw UsageError(fmt::format("serve needs a model: {}", ModelNames()));
    }
    return ServeOptions{.model = &ModelNamed("serve", given.arguments[1]), .port = given.port};
  }
  throw UsageError(fmt::format("'{}': none of calls, edges, serve", command));
}

}  // namespace models
