#include "models/plot.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "echo_load/failure.h"

namespace models {
namespace {

// Of Okabe and Ito, which colour-blind readers can tell apart too; weir's own is last.
constexpr std::array<std::string_view, 8> kColours = {"#999999", "#E69F00", "#56B4E9", "#CC79A7",
                                                      "#D55E00", "#F0E442", "#0072B2", "#009E73"};

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
        const Measured median = cell.Median();
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

std::string Lines(const Results& results, const MeasureOptions& options, int column) {
  std::string text;
  for (std::size_t m = 0; m < options.models.size(); ++m) {
    const Model& model = *options.models[m];
    if (!HasAny(results, model)) continue;
    const bool is_ours = model.name == "weir";
    const std::string_view colour = is_ours ? "#000000" : kColours[m % kColours.size()];
    text += fmt::format(
        "{}$model{} using 1:{} with linespoints lw {} pt {} ps 0.7 lc rgb '{}' title {}",
        text.empty() ? "plot " : ", \\\n  ", m, column, is_ours ? 3.5 : 2, m + 4, colour,
        Quoted(model.title));
  }
  return text + "\n";
}

std::string Script(const Results& results, const MeasureOptions& options,
                   const std::string& machine, const std::string& file) {
  std::string ticks;
  for (std::size_t i = 0; i < options.idle.size(); ++i) {
    ticks += fmt::format("{}'{}' {}", i == 0 ? "" : ", ", options.idle[i], i);
  }
  std::string text = DataBlocks(results, options);
  text += fmt::format(
      "set terminal svg size 1000,900 font 'sans-serif,14' background rgb 'white'\n"
      "set output {}\n"
      "set multiplot layout 2,1 title {} font ',16'\n",
      Quoted(file), Quoted(fmt::format("{} connections ask, others are idle", options.active)));
  text += fmt::format("set xtics ({})\nset xrange [-0.15:{}]\n", ticks,
                      static_cast<double>(options.idle.size()) - 0.85);
  text +=
      "set grid ytics lc rgb '#dddddd'\nset border 3\nset tics nomirror\n"
      "set key outside right center samplen 2 spacing 1.3\nset logscale y\n"
      "set bmargin 4\nset lmargin 12\nset xlabel 'idle connections beside them'\n"
      "set format y '%.0s %c'\nset ylabel 'requests per second of server CPU'\n";
  text += Lines(results, options, 2);
  text += "set format y '%g'\nset ylabel 'p99.9 of the latency, ms'\n";
  text += fmt::format("set label {} at screen 0.01,0.012 font ',10' tc rgb '#666666' noenhanced\n",
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
  std::FILE* const gnuplot = ::popen("gnuplot", "we");
  if (gnuplot == nullptr) throw echo_load::Failure("gnuplot: " + echo_load::ErrorText(errno));
  const std::string script = Script(results, options, machine, file);
  const bool written = std::fwrite(script.data(), 1, script.size(), gnuplot) == script.size();
  if (::pclose(gnuplot) != 0 || !written) {
    throw echo_load::Failure("gnuplot did not draw the chart: see what it said above");
  }
}

}  // namespace models
