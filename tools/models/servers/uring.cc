// Asynchronous I/O: io_uring(7).
//
//     order(recv into a buffer);  for (;;) { done = wait(); order(send, or the next recv) }
//
// The program does not ask when it may copy: it says what is to be done, and is told when that is
// done. The kernel does both phases, the waiting and the copying. Orders and reports go through two
// rings of shared memory; one system call hands over all orders of a turn, and waits for reports.
//
// The price is that memory is lent to the kernel: what an order names has to stay until its report
// comes, even when the client is gone. Here a client has one order in flight at any time, a receive
// or a send: so its report is also the moment at which he may go. A receive that waits would bind a
// buffer to each idle client; so it names a pool, of which the kernel takes one when there are
// bytes. The echo is sent from that buffer with MSG_DONTWAIT: it is free again at once, whatever
// the client does, and what he did not take is copied to memory of his own, and waits there.
//
// The more are busy at once, the fewer calls: one hands over the orders of all. (Whether that pays
// is another question: docs/io-models.md.) It needs Linux 6.1 and a system that allows it.

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>

#include "models/servers/server.h"
#include "models/servers/uring_ring.h"

namespace models {
namespace {

struct Client {
  int fd;
  bool sending = false;         // or else receiving: the one order that is in flight
  std::uint16_t buffer = 0;     // of the pool, that the next is in
  std::span<char> filled = {};  // what was received, while it is being sent from there; or nothing
  std::string unsent = {};      // what that did not get rid of, while it is being sent; or nothing
};

class Server {
 public:
  explicit Server(int listener) : listener_(listener) {}

  void Run() {
    ring_.Accept(listener_);
    while (!ended_ || !clients_.empty()) {  // what is in flight has to come home
      ring_.SubmitAndWait();
      while (const auto report = ring_.NextReport()) {
        auto* const client = static_cast<Client*>(report->of_whom);
        if (client == nullptr) {
          Accepted(*report);
        } else if (client->sending) {
          Sent(*client, report->result);
        } else {
          Received(*client, *report);
        }
      }
    }
  }

 private:
  void Accepted(const Report& report) {
    const int fd = polls_ ? AcceptBySpare(listener_, 0) : report.result;
    polls_ = !polls_ && (fd == -EMFILE || fd == -ENFILE);
    if (polls_) {
      ring_.Poll(listener_);  // until somebody waits: to accept again now would fail for ever
    } else if (fd == -EINVAL || fd == kEnded) {
      ended_ = true;
      for (const auto& [number, client] : clients_) ::shutdown(number, SHUT_RDWR);
    } else {
      if (fd >= 0) ring_.Receive(fd, &clients_.try_emplace(fd, Client{.fd = fd}).first->second);
      if (!report.more_will_come) ring_.Accept(listener_);
    }
  }

  void Received(Client& client, const Report& report) {
    if (report.result == -ENOBUFS) {
      ring_.ReceiveLater(client.fd, &client);
    } else if (report.result > 0) {
      client.sending = true;
      client.buffer = *report.buffer;
      client.filled = ring_.Bytes(report);
      ring_.Send(client.fd, client.filled, MSG_DONTWAIT, &client);
    } else {  // his end, or an error
      if (report.buffer) ring_.GiveBack(*report.buffer);
      Close(client);
    }
  }

  void Sent(Client& client, int result) {
    const std::size_t count = result > 0 ? static_cast<std::size_t>(result) : 0;
    if (client.filled.empty()) {
      client.unsent.erase(0, count);
    } else {
      const std::span<char> rest = client.filled.subspan(count);
      client.unsent.assign(rest.begin(), rest.end());
      client.filled = {};
      ring_.GiveBack(client.buffer);
    }
    if (result < 0 && result != -EAGAIN) {
      Close(client);
    } else if (!client.unsent.empty()) {
      ring_.Send(client.fd, client.unsent, 0, &client);  // this one waits
    } else {
      client.unsent.shrink_to_fit();
      client.sending = false;
      ring_.Receive(client.fd, &client);
    }
  }

  void Close(const Client& client) {
    ::close(client.fd);
    clients_.erase(client.fd);
  }

  int listener_;
  bool ended_ = false;
  bool polls_ = false;  // no descriptors are left: the listener is not accepted from, but polled
  Ring ring_;
  std::unordered_map<int, Client> clients_;  // each stays where it is
};

}  // namespace

void ServeUring(int listener) { Server(listener).Run(); }

}  // namespace models
