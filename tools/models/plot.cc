#include "models/plot.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "echo_load/failure.h"

namespace models {
namespace {

// Of Okabe and Ito: colour-blind readers can tell them apart, too.
constexpr std::array<std::string_view, 8> kColours = {"#999999", "#E69F00", "#56B4E9", "#CC79A7",
                                                      "#D55E00", "#000000", "#0072B2", "#009E73"};

// As a string of gnuplot in single quotes.
std::string Quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "''" : std::string(1, c);
  return quoted + "'";
}

// A data block for each model: x is the load's number, then the two figures.
std::string DataBlocks(const Results& results, const MeasureOptions& options) {
  std::string text;
  for (std::size_t m = 0; m < options.models.size(); ++m) {
    text += fmt::format("$model{} << END\n", m);
    for (std::size_t i = 0; i < options.idle.size(); ++i) {
      for (const Cell& cell : results.cells) {
        if (cell.model != options.models[m] || cell.idle != options.idle[i]) continue;
        if (cell.rounds.empty()) continue;  // its line ends here
        const Measured median = cell.Median(results.NearNs());
        text += fmt::format("{} {} {}\n", i, median.requests_per_cpu_second, median.p999_us / 1000);
      }
    }
    text += "END\n";
  }
  return text;
}

bool HasAny(const Results& results, const Model& model) {
  for (const Cell& cell : results.cells) {
    if (cell.model == &model && !cell.rounds.empty()) return true;
  }
  return false;
}

// weir's line is the widest, and lies below: where several are as good, all are seen.
std::string Lines(const Results& results, const MeasureOptions& options, int column) {
  std::string ours;
  std::string others;
  for (std::size_t m = 0; m < options.models.size(); ++m) {
    const Model& model = *options.models[m];
    if (!HasAny(results, model)) continue;
    const bool is_ours = model.name == "weir";
    std::string& text = is_ours ? ours : others;
    text +=
        fmt::format("{}$model{} using 1:{} with linespoints lw {} pt {} ps {} lc rgb '{}' title {}",
                    text.empty() ? "" : ", \\\n  ", m, column, is_ours ? 7 : 2, is_ours ? 7 : m + 4,
                    is_ours ? 1.4 : 0.7, is_ours ? "#c8b6e8" : kColours[m % kColours.size()],
                    Quoted(model.title));
  }
  const char* const between = ours.empty() || others.empty() ? "" : ", \\\n  ";
  return "plot " + ours + between + others + "\n";
}

std::string Script(const Results& results, const MeasureOptions& options,
                   const std::string& machine, const std::string& file) {
  std::string ticks;
  for (std::size_t i = 0; i < options.idle.size(); ++i) {
    ticks += fmt::format("{}'{}' {}", i == 0 ? "" : ", ", options.idle[i], i);
  }
  std::string text = DataBlocks(results, options);
  text += fmt::format(
      "set terminal svg noenhanced size 1000,900 font 'sans-serif,14' background rgb 'white'\n"
      "set output {}\nset multiplot layout 2,1\n",
      Quoted(file));
  text += fmt::format("set xtics ({})\nset xrange [-0.15:{}]\n", ticks,
                      static_cast<double>(options.idle.size()) - 0.85);
  text +=
      "set grid ytics lc rgb '#dddddd'\nset border 3\nset tics nomirror\n"
      "set key outside right center samplen 2 spacing 1.3\nset logscale y\n"
      "set bmargin 4\nset lmargin 12\nset rmargin 34\n";
  text += fmt::format("set xlabel 'idle connections beside the {} that ask'\n", options.active);
  text += "set format y '%.0s %c'\nset title 'requests per second of server CPU'\n";
  text += Lines(results, options, 2);
  text += "unset key\nset format y '%g'\nset title 'p99.9 of the latency, ms'\n";
  text += fmt::format("set label {} at screen 0.01,0.012 font ',10' tc rgb '#666666'\n",
                      Quoted(machine));
  text += Lines(results, options, 3);
  return text + "unset multiplot\n";
}

}  // namespace

void CheckPlot(const std::string& file) {
  // Nothing of the user's is in the command.
  if (std::system("command -v gnuplot >/dev/null 2>&1") != 0) {
    throw echo_load::UsageError("--plot needs gnuplot (Debian's package gnuplot-nox)");
  }
  const std::unique_ptr<std::FILE, decltype(&std::fclose)> opened(std::fopen(file.c_str(), "ae"),
                                                                  &std::fclose);
  if (!opened) {
    throw echo_load::UsageError(fmt::format("--plot '{}': {}", file, echo_load::ErrorText(errno)));
  }
}

void Plot(const Results& results, const MeasureOptions& options, const std::string& machine,
          const std::string& file) {
  std::fflush(stdout);
  // gnuplot may end before it has read all: that is told below, and no signal's affair.
  static_cast<void>(std::signal(SIGPIPE, SIG_IGN));
  std::FILE* const gnuplot = ::popen("gnuplot", "we");
  if (gnuplot == nullptr) throw echo_load::Failure("gnuplot: " + echo_load::ErrorText(errno));
  const std::string script = Script(results, options, machine, file);
  const bool written = std::fwrite(script.data(), 1, script.size(), gnuplot) == script.size();
  if (::pclose(gnuplot) != 0 || !written) {
    throw echo_load::Failure("gnuplot did not draw the chart: see what it said above");
  }
}

}  // namespace models
