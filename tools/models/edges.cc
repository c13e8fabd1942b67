#include "models/edges.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string>

#include "models/edges/groups.h"

namespace models {
namespace {

constexpr std::size_t kTitleWidth = 40;
constexpr std::size_t kGap = 2;

std::string Text(const Figure& figure) {
  if (figure.is_fact) return figure.value != 0 ? "yes" : "no";
  return fmt::format("{}", figure.value);
}

std::size_t Width(const Figure& figure) { return figure.name.size() + kGap; }

void PrintGroup(const EdgeGroup& group) {
  std::string names;
  for (const Figure& figure : group.lines.front().figures) {
    names += fmt::format("{:>{}}", figure.name, Width(figure));
  }
  fmt::print("{}\n{:{}}{}\n", group.title, "", kTitleWidth + kGap, names);
  for (const EdgeLine& line : group.lines) {
    std::string figures;
    for (const Figure& figure : line.figures) {
      figures += fmt::format("{:>{}}", Text(figure), Width(figure));
    }
    fmt::print("  {:{}}{}\n      {}\n", line.title, kTitleWidth, figures, line.verdict);
  }
}

void PrintTable(const std::vector<EdgeGroup>& groups) {
  fmt::print(
      "What epoll says, and when. LT: level-triggered; ET: edge-triggered.\n"
      "returns: epoll_wait reported it. reads: that brought bytes. unseen: still in the socket.\n");
  for (const EdgeGroup& group : groups) {
    fmt::print("\n");
    PrintGroup(group);
  }
}

// None of the texts has a character that JSON wants escaped.
void PrintJson(const std::vector<EdgeGroup>& groups) {
  std::string objects;
  for (const EdgeGroup& group : groups) {
    for (const EdgeLine& line : group.lines) {
      objects += objects.empty() ? "" : ",\n";
      objects += fmt::format(R"(  {{"id": "{}", "group": "{}", "title": "{}")", line.id,
                             group.title, line.title);
      for (const Figure& figure : line.figures) {
        const std::string value = figure.is_fact ? (figure.value != 0 ? "true" : "false")
                                                 : fmt::format("{}", figure.value);
        objects += fmt::format(R"(, "{}": {})", figure.name, value);
      }
      objects += fmt::format(R"(, "verdict": "{}"}})", line.verdict);
    }
  }
  fmt::print("[\n{}\n]\n", objects);
}

}  // namespace

std::vector<EdgeGroup> ReplayEdges() {
  return {edges::EightyBytes(),    edges::MoreBytes(),     edges::TheEnd(),
          edges::UrgentByte(),     edges::RoomForOutput(), edges::QueuedClients(),
          edges::ThreadPerEvent(), edges::WeirReads(),     edges::WeirAccepts()};
}

void RunEdges(bool json) {
  const std::vector<EdgeGroup> groups = ReplayEdges();
  json ? PrintJson(groups) : PrintTable(groups);
}

}  // namespace models
