#include "os/poller.h"

#include "weir/error.h"

namespace weir {

EpollPoller::EpollPoller() {
  const int fd = sys::EpollCreate();
  if (fd < 0) throw Error::System("epoll_create1", -fd);
  epoll_.reset(fd);
}

int EpollPoller::Add(int fd, Interest interest, Token token) {
  return sys::EpollControl(epoll_.get(), EPOLL_CTL_ADD, fd, static_cast<std::uint32_t>(interest),
                           token.Packed());
}

int EpollPoller::Modify(int fd, Interest interest, Token token) {
  return sys::EpollControl(epoll_.get(), EPOLL_CTL_MOD, fd, static_cast<std::uint32_t>(interest),
                           token.Packed());
}

int EpollPoller::Remove(int fd) { return sys::EpollControl(epoll_.get(), EPOLL_CTL_DEL, fd, 0, 0); }

}  // namespace weir
