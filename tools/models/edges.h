// What epoll says, and when: the classic example, replayed on real sockets. 80 bytes arrive at once
// and the server reads 20 at a time; then what else tells level- from edge-triggered: more bytes,
// the end, an urgent byte, room for output, a queue of clients, threads.
//
// Everything happens in an order that is forced: what has arrived is known before epoll is asked.
// So each figure has one value, and edges_test.py says why.
//
// THREADS   One, but for the lines about threads.
// ERRORS    std::system_error, with the call; std::runtime_error if what was sent does not arrive.

#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace models {

struct Figure {
  std::string_view name;
  std::int64_t value = 0;
  bool is_fact = false;  // said as yes or no
};

struct EdgeLine {
  std::string_view id;
  std::string_view title;
  std::string_view verdict;
  std::vector<Figure> figures;
};

struct EdgeGroup {
  std::string_view title;
  std::vector<EdgeLine> lines;  // whose figures have the same names
};

[[nodiscard]] std::vector<EdgeGroup> ReplayEdges();

// Prints a table, or an array of objects with the same figures.
void RunEdges(bool json);

}  // namespace models
