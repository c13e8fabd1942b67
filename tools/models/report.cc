#include "models/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string_view>
#include <vector>

namespace models {
namespace {

using Row = std::vector<std::string>;

struct Column {
  std::string title;
  std::function<std::string(const Cell&, const Measured&)> text;
};

// 12,345; a dash if there is no such figure
std::string Whole(double value) {
  if (std::isnan(value)) return "-";
  std::string digits = fmt::format("{:.0f}", value);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

std::string Short(double value) { return std::isnan(value) ? "-" : fmt::format("{:.2f}", value); }

// Less than a page is what the allocator had left over.
std::string Memory(double bytes, const Cell& cell) {
  constexpr std::size_t kLeastCrowd = 1000;
  if (cell.idle < kLeastCrowd) return "";
  return bytes < 10'240 ? Whole(bytes) + " B" : Whole(bytes / 1024) + " KiB";
}

const std::vector<Column>& CostColumns() {
  static const std::vector<Column> kColumns = {
      {"requests per CPU second",
       [](const Cell&, const Measured& it) { return Whole(it.requests_per_cpu_second); }},
      {"p50 us", [](const Cell&, const Measured& it) { return Whole(it.p50_us); }},
      {"p99.9 us", [](const Cell&, const Measured& it) { return Whole(it.p999_us); }},
      {"threads", [](const Cell&, const Measured& it) { return Whole(it.threads); }},
      {"memory per idle connection",
       [](const Cell& cell, const Measured& it) { return Memory(it.bytes_per_connection, cell); }},
      {"and kernel stack",
       [](const Cell& cell, const Measured& it) {
         return Memory(it.kernel_stack_per_connection, cell);
       }},
      {"idle CPU", [](const Cell&,
                      const Measured& it) { return fmt::format("{:.1f} %", it.idle_cpu_percent); }},
      {"idle wake-ups per s",
       [](const Cell&, const Measured& it) { return Whole(it.idle_wakeups_per_second); }},
  };
  return kColumns;
}

const std::vector<Column>& RequestColumns() {
  static const std::vector<Column> kColumns = {
      {"system calls", [](const Cell&, const Measured& it) { return Short(it.calls); }},
      {"waiting",
       [](const Cell& cell, const Measured& it) {
         return cell.model->waits_in_calls_that_copy ? "in recv" : Short(it.waits);
       }},
      {"copying", [](const Cell&, const Measured& it) { return Short(it.copies); }},
      {"in vain", [](const Cell&, const Measured& it) { return Short(it.in_vain); }},
      {"other", [](const Cell&, const Measured& it) { return Short(it.others); }},
      {"wake-ups", [](const Cell&, const Measured& it) { return Short(it.wakeups); }},
      {"context switches", [](const Cell&, const Measured& it) { return Short(it.switches); }},
  };
  return kColumns;
}

void PrintRows(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  const auto print = [&](const Row& row) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i == 0) {
        fmt::print("| {:<{}} |", row[i], widths[i]);
      } else {
        fmt::print(" {:>{}} |", row[i], widths[i]);
      }
    }
    fmt::print("\n");
  };
  print(rows.front());
  for (std::size_t i = 0; i < widths.size(); ++i) {
    const std::string line(widths[i], '-');
    fmt::print("{}", i == 0 ? fmt::format("| {} |", line) : fmt::format(" {}: |", line.substr(1)));
  }
  fmt::print("\n");
  for (auto row = rows.begin() + 1; row != rows.end(); ++row) print(*row);
}

void PrintTable(const Results& results, std::size_t idle, const std::string& title,
                const std::vector<Column>& columns) {
  std::vector<Row> rows(1, {title});
  for (const Column& column : columns) rows.front().push_back(column.title);
  for (const Cell& cell : results.cells) {
    if (cell.idle != idle) continue;
    Row& row = rows.emplace_back(Row{std::string(cell.model->title)});
    if (cell.rounds.empty()) {
      row.emplace_back("no: see below");
      row.resize(rows.front().size());
      continue;
    }
    const Measured median = cell.Median(results.NearNs());
    for (const Column& column : columns) row.push_back(column.text(cell, median));
  }
  PrintRows(rows);
}

std::string LoadTitle(std::size_t active, std::size_t idle) {
  std::string asking =
      fmt::format("{} connection{} ask{}", active, active == 1 ? "" : "s", active == 1 ? "s" : "");
  if (idle == 0) return asking;
  return fmt::format("{}, {} idle", asking, Whole(static_cast<double>(idle)));
}

void PrintRefusals(const Results& results) {
  for (const Cell& cell : results.cells) {
    if (!cell.refused) continue;
    fmt::print("{} beside {} idle connections: {}{}\n", cell.model->title,
               Whole(static_cast<double>(cell.idle)),
               cell.refused->expected ? "" : "FAILED: ", cell.refused->why);
  }
}

// How far apart the CPUs were, what was left out, and which cells have nothing else.
void PrintDistances(const Results& results) {
  const double near = results.NearNs();
  std::size_t all = 0;
  std::size_t left_out = 0;
  double farthest = 0;
  for (const Cell& cell : results.cells) {
    all += cell.rounds.size();
    if (cell.Near(near) != 0) left_out += cell.rounds.size() - cell.Near(near);
    for (const Measured& round : cell.rounds) farthest = std::max(farthest, round.cpu_distance_ns);
  }
  if (farthest == 0) return;  // there is only one, or nothing was measured
  fmt::print("The two CPUs were {:.0f} ns apart, there and back", near / 2);
  if (farthest <= near) {
    fmt::print(".\n");
    return;
  }
  fmt::print("; {} of {} measurements are left out, for then it was up to {:.0f}.\n", left_out, all,
             farthest);
  for (const Cell& cell : results.cells) {
    if (cell.rounds.empty() || cell.Near(near) != 0) continue;
    fmt::print("{} beside {} idle connections was measured in no other time: it is not left out.\n",
               cell.model->title, Whole(static_cast<double>(cell.idle)));
  }
}

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += fmt::format("\\{}", c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string JsonFigures(const Measured& measured) {
  std::string text;
  for (const Field& field : kFields) {
    const double value = measured.*field.value;
    text += fmt::format("{}{}:{}", text.empty() ? "" : ",", Quoted(field.name),
                        std::isnan(value) ? "null" : fmt::format("{:.6g}", value));
  }
  return "{" + text + "}";
}

std::string JsonCell(const Cell& cell, double near_ns) {
  std::string text = fmt::format("{{\"model\":{},\"idle\":{}", Quoted(cell.model->name), cell.idle);
  if (cell.refused) {
    text += fmt::format(",\"refused\":{},\"expected\":{}", Quoted(cell.refused->why),
                        cell.refused->expected);
  }
  if (!cell.rounds.empty()) text += ",\"median\":" + JsonFigures(cell.Median(near_ns));
  text += ",\"rounds\":[";
  for (const Measured& round : cell.rounds) {
    text += (&round == cell.rounds.data() ? "" : ",") + JsonFigures(round);
  }
  return text + "]}";
}

}  // namespace

void PrintTables(const Results& results, const MeasureOptions& options,
                 const std::string& machine) {
  for (const std::size_t idle : options.idle) {
    const std::string title = LoadTitle(options.active, idle);
    PrintTable(results, idle, title, CostColumns());
    fmt::print("\n");
    PrintTable(results, idle, title + ": for each request", RequestColumns());
    fmt::print("\n");
  }
  PrintRefusals(results);
  const bool all_right = results.AllAsExpected() && results.HasFigures();
  fmt::print("{}.\nMedians of {} round{} of {:g} s.{}\n", machine, options.rounds,
             options.rounds == 1 ? "" : "s", options.seconds,
             all_right ? " Every byte of every echo was right." : "");
  PrintDistances(results);
}

void PrintJson(const Results& results, const MeasureOptions& options, const std::string& machine) {
  fmt::print("{{\"machine\":{},\"active\":{},\"seconds\":{:g},\"rounds\":{},\"results\":[\n",
             Quoted(machine), options.active, options.seconds, options.rounds);
  for (const Cell& cell : results.cells) {
    fmt::print("{}{}\n", JsonCell(cell, results.NearNs()),
               &cell == &results.cells.back() ? "" : ",");
  }
  fmt::print("]}}\n");
}

}  // namespace models
