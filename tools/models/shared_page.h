// What the laboratory and a server's process both see.
//
// OWNER     The laboratory makes it (OwnedPage); the server maps it for as long as it lives.
// ERRORS    echo_load::Failure

#pragma once

#include <atomic>
#include <cstdint>

#include "echo_load/fd.h"
#include "models/counters.h"

namespace models {

struct SharedPage {
  Counters counters;

  // What getrusage(2) says of the server's process, written by it whenever it is asked.
  std::atomic<std::uint64_t> wakeups{0};
  std::atomic<std::uint64_t> preemptions{0};
  std::atomic<std::uint64_t> asked{0};     // the question's number, and then a SIGUSR1
  std::atomic<std::uint64_t> answered{0};  // of the last question that was answered
};

class OwnedPage final {
 public:
  OwnedPage();
  OwnedPage(const OwnedPage&) = delete;
  OwnedPage& operator=(const OwnedPage&) = delete;
  ~OwnedPage();

  [[nodiscard]] int Descriptor() const noexcept { return fd_.Get(); }
  [[nodiscard]] SharedPage* operator->() const noexcept { return page_; }

 private:
  echo_load::Fd fd_;
  SharedPage* page_ = nullptr;
};

// The page behind a descriptor that an OwnedPage had.
[[nodiscard]] SharedPage& MapSharedPage(int fd);

}  // namespace models
