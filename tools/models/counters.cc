// ld --wrap=recv turns every call of recv in this program into __wrap_recv, and gives the real one
// the name __real_recv. The calls of shared libraries are not touched: of liburing the one function
// that enters the kernel is wrapped.

#include "models/counters.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#ifdef WEIR_HAS_LIBURING
#include <liburing.h>
#endif

namespace models {
namespace {

Counters nobody_looks;
Counters* counters = &nobody_looks;

using Count = std::atomic<std::uint64_t> Counters::*;

void Add(Count count) { (counters->*count).fetch_add(1, std::memory_order_relaxed); }

// Of a call that moves something, or finds that it would block.
template <class Result>
Result Counted(Result result, Count moved) {
  Add(result < 0 && errno == EAGAIN ? &Counters::in_vain : moved);
  return result;
}

}  // namespace

void Install(Counters& shared) noexcept { counters = &shared; }

}  // namespace models

using models::Add;
using models::Counted;
using models::Counters;

// The names are the linker's.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming,cert-dcl*)
extern "C" {

int __real_select(int count, fd_set* in, fd_set* out, fd_set* error, timeval* limit);
int __wrap_select(int count, fd_set* in, fd_set* out, fd_set* error, timeval* limit) {
  Add(&Counters::waits);
  return __real_select(count, in, out, error, limit);
}

int __real_poll(pollfd* fds, nfds_t count, int limit);
int __wrap_poll(pollfd* fds, nfds_t count, int limit) {
  Add(&Counters::waits);
  return __real_poll(fds, count, limit);
}

int __real_epoll_wait(int epoll, epoll_event* events, int room, int limit);
int __wrap_epoll_wait(int epoll, epoll_event* events, int room, int limit) {
  Add(&Counters::waits);
  return __real_epoll_wait(epoll, events, room, limit);
}

int __real_nanosleep(const timespec* time, timespec* left);
int __wrap_nanosleep(const timespec* time, timespec* left) {
  Add(&Counters::waits);
  return __real_nanosleep(time, left);
}

ssize_t __real_recv(int fd, void* room, std::size_t size, int flags);
ssize_t __wrap_recv(int fd, void* room, std::size_t size, int flags) {
  return Counted(__real_recv(fd, room, size, flags), &Counters::receives);
}

ssize_t __real_send(int fd, const void* bytes, std::size_t size, int flags);
ssize_t __wrap_send(int fd, const void* bytes, std::size_t size, int flags) {
  return Counted(__real_send(fd, bytes, size, flags), &Counters::sends);
}

ssize_t __real_sendmsg(int fd, const msghdr* message, int flags);
ssize_t __wrap_sendmsg(int fd, const msghdr* message, int flags) {
  return Counted(__real_sendmsg(fd, message, flags), &Counters::sends);
}

int __real_accept4(int listener, sockaddr* address, socklen_t* size, int flags);
int __wrap_accept4(int listener, sockaddr* address, socklen_t* size, int flags) {
  return Counted(__real_accept4(listener, address, size, flags), &Counters::others);
}

int __real_epoll_ctl(int epoll, int operation, int fd, epoll_event* event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, epoll_event* event) {
  Add(&Counters::others);
  return __real_epoll_ctl(epoll, operation, fd, event);
}

int __real_close(int fd);
int __wrap_close(int fd) {
  Add(&Counters::others);
  return __real_close(fd);
}

int __real_shutdown(int fd, int how);
int __wrap_shutdown(int fd, int how) {
  Add(&Counters::others);
  return __real_shutdown(fd, how);
}

int __real_setsockopt(int fd, int level, int name, const void* value, socklen_t size);
int __wrap_setsockopt(int fd, int level, int name, const void* value, socklen_t size) {
  Add(&Counters::others);
  return __real_setsockopt(fd, level, name, value, size);
}

int __real_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                          void* argument);
int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                          void* argument) {
  Add(&Counters::threads);
  return __real_pthread_create(thread, attributes, run, argument);
}

#ifdef WEIR_HAS_LIBURING
int __real_io_uring_submit_and_wait(io_uring* ring, unsigned wanted);
int __wrap_io_uring_submit_and_wait(io_uring* ring, unsigned wanted) {
  Add(&Counters::waits);
  return __real_io_uring_submit_and_wait(ring, wanted);
}

int __real_io_uring_submit(io_uring* ring);
int __wrap_io_uring_submit(io_uring* ring) {
  Add(&Counters::others);
  return __real_io_uring_submit(ring);
}
#endif

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming,cert-dcl*)
