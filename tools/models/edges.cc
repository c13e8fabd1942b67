#include "models/edges.h"

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <vector>

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
std::string Object(const EdgeGroup& group, const EdgeLine& line) {
  std::string figures;
  for (const Figure& figure : line.figures) {
    const std::string fact = figure.value != 0 ? "true" : "false";
    figures += fmt::format(R"("{}": {}, )", figure.name, figure.is_fact ? fact : Text(figure));
  }
  return fmt::format(R"({{"id": "{}", "group": "{}", "title": "{}", {}"verdict": "{}"}})", line.id,
                     group.title, line.title, figures, line.verdict);
}

void PrintJson(const std::vector<EdgeGroup>& groups) {
  std::vector<std::string> objects;
  for (const EdgeGroup& group : groups) {
    for (const EdgeLine& line : group.lines) objects.push_back(Object(group, line));
  }
  fmt::print("[\n  {}\n]\n", fmt::join(objects, ",\n  "));
}

}  // namespace

std::vector<EdgeGroup> ReplayEdges() {
  return {edges::EightyBytes(),    edges::MoreBytes(),     edges::TheEnd(),
          edges::UrgentByte(),     edges::RoomForOutput(), edges::QueuedClients(),
          edges::ThreadPerEvent(), edges::ThreadPerEnd(),  edges::WeirReads(),
          edges::WeirAccepts()};
}

void RunEdges(bool json) {
  const std::vector<EdgeGroup> groups = ReplayEdges();
  json ? PrintJson(groups) : PrintTable(groups);
}

}  // namespace models
