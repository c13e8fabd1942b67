// An echo server by hand: edge-triggered epoll and nothing else. tools/bench measures the others
// against it.
//
// It does what a server needs to echo every byte, and what makes that cheap: each socket is
// registered once and for all, reading stops at a short read, all connections share one buffer,
// and only what the kernel did not take is kept. A peer that takes nothing is not read from. It
// has none of what a library is for: no limits, no times, no fairness, no care when descriptors
// run out, no draining.

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kBufferSize = 64 << 10, kEvents = 256 };

struct connection {
  int fd;
  bool end_is_near;  // FIN or an error has been announced: a short read is not the last one
  char* kept;        // what the kernel did not take, or NULL
  size_t kept_begin;
  size_t kept_end;
};

static char buffer[kBufferSize];

static void die(const char* what) {
  perror(what);
  exit(1);
}

static void end_connection(struct connection* c) {
  close(c->fd);  // which takes it out of epoll, too
  free(c->kept);
  free(c);
}

// Returns how much the kernel took, or -1 if the connection is broken.
static ssize_t send_some(int fd, const char* data, size_t size) {
  size_t sent = 0;
  while (sent < size) {
    const ssize_t result = send(fd, data + sent, size - sent, MSG_NOSIGNAL);
    if (result < 0 && errno == EINTR) continue;
    if (result < 0 && errno == EAGAIN) break;
    if (result < 0) return -1;
    sent += (size_t)result;
  }
  return (ssize_t)sent;
}

// Sends what was kept. Returns false if the connection is broken.
static bool send_kept(struct connection* c) {
  if (c->kept == NULL) return true;
  const ssize_t sent = send_some(c->fd, c->kept + c->kept_begin, c->kept_end - c->kept_begin);
  if (sent < 0) return false;
  c->kept_begin += (size_t)sent;
  if (c->kept_begin == c->kept_end) {
    free(c->kept);
    c->kept = NULL;
  }
  return true;
}

// Sends `size` bytes of the buffer, and keeps the rest of them. Returns false if the connection is
// broken.
static bool echo(struct connection* c, size_t size) {
  const ssize_t sent = send_some(c->fd, buffer, size);
  if (sent < 0) return false;
  if ((size_t)sent == size) return true;
  c->kept_begin = 0;
  c->kept_end = size - (size_t)sent;
  c->kept = malloc(c->kept_end);
  if (c->kept == NULL) return false;
  memcpy(c->kept, buffer + sent, c->kept_end);
  return true;
}

// Echoes until there is nothing to read, or output is kept: the edge that says that the kernel
// takes more of it comes back here. Returns false when the connection has to be closed.
static bool serve(struct connection* c) {
  if (!send_kept(c)) return false;
  while (c->kept == NULL) {
    const ssize_t got = recv(c->fd, buffer, sizeof(buffer), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN;
    if (got == 0 || !echo(c, (size_t)got)) return false;
    if (got < (ssize_t)sizeof(buffer) && !c->end_is_near) return true;  // more comes with an edge
  }
  return true;
}

static void accept_all(int epoll, int listener) {
  for (;;) {
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && errno == EAGAIN) return;
    if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (fd < 0) die("accept4");
    struct connection* c = calloc(1, sizeof(*c));
    if (c == NULL) die("calloc");
    c->fd = fd;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
  }
}

// Listens on a free port of 127.0.0.1, and tells which.
static int open_listener(void) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  const int on = 1;  // what is accepted inherits it
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) die("setsockopt");
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof(address);
  if (bind(fd, (struct sockaddr*)&address, size) != 0) die("bind");
  if (listen(fd, SOMAXCONN) != 0) die("listen");
  if (getsockname(fd, (struct sockaddr*)&address, &size) != 0) die("getsockname");
  printf("listening on tcp://127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

int main(void) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) die("epoll_create1");
  const int listener = open_listener();
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0) die("epoll_ctl");

  struct epoll_event events[kEvents];
  for (;;) {
    const int count = epoll_wait(epoll, events, kEvents, -1);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < count; ++i) {
      struct connection* c = events[i].data.ptr;
      if (c == NULL) {
        accept_all(epoll, listener);
        continue;
      }
      if ((events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) c->end_is_near = true;
      if (!serve(c)) end_connection(c);
    }
  }
}
