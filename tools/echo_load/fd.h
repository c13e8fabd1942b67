// A file descriptor that somebody owns.

#pragma once

#include <unistd.h>

#include <utility>

namespace echo_load {

class Fd final {
 public:
  explicit Fd(int fd = -1) noexcept : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { Close(); }

  void Close() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  [[nodiscard]] int Release() noexcept { return std::exchange(fd_, -1); }
  [[nodiscard]] int Get() const noexcept { return fd_; }

 private:
  int fd_;
};

}  // namespace echo_load
