#include "models/servers/uring_ring.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

namespace models {
namespace {

bool IsForbidden(int error) { return error == EPERM || error == ENOSYS || error == EINVAL; }

// liburing returns what others leave in errno.
void Check(int result, const char* call) {
  if (result >= 0) return;
  errno = -result;
  Die(call);
}

}  // namespace

Ring::Ring() {
  // Reports are made when this thread waits for them, and by it: nothing interrupts it in between.
  constexpr unsigned kFlags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  const int result = io_uring_queue_init(kOrders, &ring_, kFlags);
  errno = -result;
  if (result < 0 && IsForbidden(errno)) {
    Die("io_uring needs Linux 6.1, and a system that allows it (sysctl kernel.io_uring_disabled, "
        "seccomp): io_uring_queue_init",
        kNotToBeHad);
  }
  Check(result, "io_uring_queue_init");
  io_uring_buf_reg pool{};
  pool.ring_addr = reinterpret_cast<std::uintptr_t>(pool_->offered.data());
  pool.ring_entries = kBuffers;
  pool.bgid = kPool;
  io_uring_buf_ring_init(Offered());
  Check(io_uring_register_buf_ring(&ring_, &pool, 0), "io_uring_register_buf_ring");
  for (std::uint16_t buffer = 0; buffer < kBuffers; ++buffer) Offer(buffer);
}

// Room for an order.
io_uring_sqe* Ring::Order() {
  io_uring_sqe* order = io_uring_get_sqe(&ring_);
  if (order != nullptr) return order;
  Check(io_uring_submit(&ring_), "io_uring_submit");  // it is full: hand over what is in it
  order = io_uring_get_sqe(&ring_);
  if (order == nullptr) Check(-EBUSY, "io_uring_get_sqe");
  return order;
}

void Ring::Accept(int listener) {
  io_uring_sqe* const order = Order();
  io_uring_prep_multishot_accept(order, listener, nullptr, nullptr, SOCK_CLOEXEC);
  io_uring_sqe_set_data(order, nullptr);
}

void Ring::Poll(int listener) {
  io_uring_sqe* const order = Order();
  io_uring_prep_poll_add(order, listener, POLLIN);
  io_uring_sqe_set_data(order, nullptr);
}

void Ring::Receive(int fd, void* for_whom) {
  io_uring_sqe* const order = Order();
  io_uring_prep_recv(order, fd, nullptr, kReadSize, 0);
  order->flags |= IOSQE_BUFFER_SELECT;
  order->buf_group = kPool;
  io_uring_sqe_set_data(order, for_whom);
}

// If all buffers have come back since, nobody would bring this one another.
void Ring::ReceiveLater(int fd, void* for_whom) {
  if (filled_ == 0) return Receive(fd, for_whom);
  hungry_.emplace_back(fd, for_whom);
}

void Ring::Send(int fd, std::span<const char> bytes, int flags, void* for_whom) {
  io_uring_sqe* const order = Order();
  io_uring_prep_send(order, fd, bytes.data(), bytes.size(), flags | MSG_NOSIGNAL);
  io_uring_sqe_set_data(order, for_whom);
}

void Ring::SubmitAndWait() {
  const int result = io_uring_submit_and_wait(&ring_, 1);
  if (result != -EINTR) Check(result, "io_uring_submit_and_wait");
}

std::optional<Report> Ring::NextReport() {
  io_uring_cqe* next = nullptr;
  if (io_uring_peek_cqe(&ring_, &next) != 0) return std::nullopt;
  Report report{.of_whom = io_uring_cqe_get_data(next),
                .result = next->res,
                .buffer = std::nullopt,
                .more_will_come = (next->flags & IORING_CQE_F_MORE) != 0};
  if ((next->flags & IORING_CQE_F_BUFFER) != 0) {
    ++filled_;
    report.buffer = static_cast<std::uint16_t>(next->flags >> IORING_CQE_BUFFER_SHIFT);
  }
  io_uring_cqe_seen(&ring_, next);  // its place may be used again
  return report;
}

void Ring::GiveBack(std::uint16_t buffer) {
  Offer(buffer);
  --filled_;
  // All that are hungry: one receive needs a buffer to find that it has to wait, keeps none, and so
  // would never give one back for the next.
  for (const auto& [fd, for_whom] : std::exchange(hungry_, {})) Receive(fd, for_whom);
}

void Ring::Offer(std::uint16_t buffer) {
  constexpr int kMask = kBuffers - 1;
  io_uring_buf_ring_add(Offered(), pool_->buffers[buffer].data(), kReadSize, buffer, kMask, 0);
  io_uring_buf_ring_advance(Offered(), 1);
}

}  // namespace models
