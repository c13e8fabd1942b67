// eventfd(2).

#pragma once

#include <sys/epoll.h>

#include <cerrno>
#include <cstdint>

#include "simulation/kernel/file.h"

namespace weir::sim {

class EventFd final : public File {
 public:
  [[nodiscard]] std::uint32_t Poll() override {
    return (count_ > 0 ? EPOLLIN : 0U) | (count_ < kMost ? EPOLLOUT : 0U);
  }

  // Each write is an edge, whether anybody has read the last one or not.
  int Add(std::uint64_t count) {
    if (count > kMost - count_) return -EAGAIN;
    count_ += count;
    if (count > 0) Wake(EPOLLIN);
    return 0;
  }
  int Take(std::uint64_t* count) {
    if (count_ == 0) return -EAGAIN;
    *count = count_;
    count_ = 0;
    Wake(EPOLLOUT);
    return 0;
  }

 private:
  static constexpr std::uint64_t kMost = UINT64_MAX - 1;

  std::uint64_t count_ = 0;
};

}  // namespace weir::sim
