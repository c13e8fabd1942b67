// The two rings of io_uring(7), and a pool of buffers that is lent to the kernel.

#pragma once

#include <liburing.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "models/servers/server.h"

namespace models {

struct Report {
  void* of_whom;                        // as the order said; null of the listener
  int result;                           // as of the system call, but an error is -errno
  std::optional<std::uint16_t> buffer;  // of the pool, which was filled: to be given back
  bool more_will_come;                  // of this order: it need not be given again
};

// OWNER     Of the pool. Nothing may be in flight any more when it is destroyed.
// THREADS   That which made it.
// ERRORS    Die().
class Ring {
 public:
  Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() { io_uring_queue_exit(&ring_); }

  // Orders. They are kept until SubmitAndWait().
  void Accept(int listener);  // all clients that will ever come: one order, a report for each
  void Poll(int listener);    // one report: somebody waits
  void Receive(int fd, void* for_whom);       // into a buffer of the pool
  void ReceiveLater(int fd, void* for_whom);  // when it was told ENOBUFS: all are in use
  void Send(int fd, std::span<const char> bytes, int flags, void* for_whom);

  // Hands over all orders, and sleeps until there is a report, or a signal comes.
  void SubmitAndWait();
  [[nodiscard]] std::optional<Report> NextReport();

  // What has been received.
  [[nodiscard]] std::span<char> Bytes(const Report& report) {
    return std::span(pool_->buffers[*report.buffer]).first(static_cast<std::size_t>(report.result));
  }
  void GiveBack(std::uint16_t buffer);

 private:
  static constexpr unsigned kOrders = 256;   // that it takes before it has to be entered
  static constexpr unsigned kBuffers = 256;  // a power of two; of few, many would find none
  static constexpr std::uint16_t kPool = 0;  // the number under which the kernel knows them

  struct alignas(4096) Pool {
    std::array<io_uring_buf, kBuffers> offered;  // a ring, too: what the kernel may fill
    std::array<std::array<char, kReadSize>, kBuffers> buffers;
  };

  io_uring_sqe* Order();
  void Offer(std::uint16_t buffer);  // to the kernel
  io_uring_buf_ring* Offered() {
    return reinterpret_cast<io_uring_buf_ring*>(pool_->offered.data());
  }

  io_uring ring_{};
  unsigned filled_ = 0;                        // buffers that were reported and not given back
  std::vector<std::pair<int, void*>> hungry_;  // receives that found no buffer
  std::unique_ptr<Pool> pool_ = std::make_unique_for_overwrite<Pool>();
};

}  // namespace models
