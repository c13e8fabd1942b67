#include "simulation/kernel/socket.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

namespace weir::sim {

int Socket::Listen(int backlog) {
  if (peer_ != nullptr) return -EINVAL;
  listens_ = true;
  backlog_ = std::max(backlog, 0);
  return 0;
}

Socket* Socket::TakeClient() {
  if (queue_.empty()) return nullptr;
  Socket* const client = queue_.front();
  queue_.pop_front();
  return client;
}

void Socket::Enqueue(Socket& client) {
  queue_.push_back(&client);
  Wake(EPOLLIN | EPOLLPRI | EPOLLRDNORM | EPOLLRDBAND);  // sock_def_readable()
}

}  // namespace weir::sim
