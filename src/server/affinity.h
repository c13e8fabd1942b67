// Binds the thread that makes it to one processor, and lets it go again.
//
// ERRORS    The constructor throws weir::Error.

#pragma once

#include <vector>

namespace weir {

class CpuPin {
 public:
  explicit CpuPin(int cpu);
  CpuPin(const CpuPin&) = delete;
  CpuPin& operator=(const CpuPin&) = delete;
  ~CpuPin();

 private:
  std::vector<int> before_;
};

}  // namespace weir
