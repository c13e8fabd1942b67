// What a descriptor of the simulated kernel stands for, and who waits for it.
//
// OWNER     The Network, until the life ends: so that no pointer among them ever dangles. A file
//           whose last descriptor was closed is told so, and nobody can name it any more.
// THREADS   One, as all of the simulated kernel.
// ERRORS    Results are the kernel's: >= 0, or -errno.

#pragma once

#include <cstdint>
#include <vector>

namespace weir::sim {

class Epoll;
class File;

// One file in one epoll.
struct Watch {
  Epoll* epoll;
  File* file;
  int fd;
  std::uint32_t events;  // with EPOLLERR and EPOLLHUP, which nobody can refuse
  std::uint64_t data;
  bool is_ready = false;  // stands in the epoll's list
};

class File {
 public:
  File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  virtual ~File() = default;

  // What a poll would say now, in epoll's bits. Looking at a full socket asks it to tell when there
  // is room, as the kernel's own does.
  [[nodiscard]] virtual std::uint32_t Poll() = 0;

  // The last descriptor was closed.
  virtual void OnReleased() {}

  // Something has happened, of the kinds in `key`; 0 stands for all. Each epoll that watches for
  // one of them hears of it, though what has happened may be the same as before: that is an edge.
  void Wake(std::uint32_t key);

  // ---- Kept by Process and Epoll

  int descriptors = 0;
  std::vector<Watch*> watches;  // in the order of their registration
};

}  // namespace weir::sim
