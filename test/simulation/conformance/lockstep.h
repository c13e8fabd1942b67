// A script of system calls, made in the simulation and in the real kernel at once. Each call has to
// say the same in both, and afterwards each socket has to look the same: what poll(2) says, what is
// unread, TCP's state and a listener's queue.
//
// What the network of the real kernel does takes its time: after each call the real world is looked
// at again and again, by nothing that changes it, until it agrees. If it never does, that is the
// difference.
//
// OWNER     A test, of one script.
// THREADS   One.
// ERRORS    Where the two worlds differ: throws Mismatch, with the transcript so far.
//
// Calls return what both worlds said, in words: a count, "EAGAIN", bytes as 'abc'. Descriptors are
// the simulation's, and the real world's too.

#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "simulation/conformance/real_world.h"
#include "simulation/conformance/simulated_world.h"

namespace weir::sim::conformance {

class Mismatch : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class Family : std::uint8_t { kTcp, kUnix };

struct Pair {
  int client;
  int server;
};

class Lockstep {
 public:
  using Bound = std::chrono::milliseconds;

  // How long the real world may take to agree.
  explicit Lockstep(Bound bound = std::chrono::seconds(5)) : bound_(bound) {}

  // ---- What most scripts begin with. These have to succeed.

  int Socket(Family family);
  // On a port, or a name, of its own.
  int Listener(Family family, int backlog = 16);
  // The next client of `listener` and what is accepted of it: "client" and "server" in the
  // transcript, "client2" and "server2", and so on.
  Pair Connected(int listener);
  // The same, with a listener that is closed again.
  Pair Connected(Family family);
  int Epoll();
  int EventFd();

  // ---- The calls

  // A free port, or `name`.
  std::string Bind(int fd, std::string_view name = {});
  std::string BindLike(int fd, int bound);  // where another socket is bound
  std::string Listen(int fd, int backlog);
  // Returns the descriptor, or -errno.
  int Accept(int fd);
  std::string Connect(int fd, int bound);  // to where another socket is bound
  std::string ConnectTo(int fd, std::string_view name);
  // At most `most` bytes.
  std::string Recv(int fd, std::size_t most = 4096);
  std::string Send(int fd, std::string_view bytes);
  std::string SendMessage(int fd, std::vector<std::string_view> pieces);
  std::string SendUrgent(int fd, std::string_view bytes);
  std::string Shutdown(int fd, int how);
  std::string Set(int fd, int option, int value);
  std::string LingerNot(int fd);
  std::string DropSyns(int fd);  // as ListenSocket::RefuseNew() does
  std::string Error(int fd);     // SO_ERROR
  std::string Unread(int fd);
  std::string Close(int fd);
  // Returns the descriptor, or -errno.
  int Dup(int fd);
  void SetLimit(int end);
  std::string Unlink(std::string_view name);
  std::string ReadEventFd(int fd);
  std::string WriteEventFd(int fd);
  std::string Poll(int fd);
  // Of the peer: its family, and whether that is who it is.
  std::string PeerOf(const Pair& pair);

  // Events are told by the name of the descriptor, or by the one that is given.
  std::string Watch(int epoll, int fd, std::uint32_t events, std::string_view name = {});
  std::string Modify(int epoll, int fd, std::uint32_t events, std::string_view name = {});
  std::string Unwatch(int epoll, int fd);

  // All that an epoll reports, in the order of the names: "client OUT, server IN|RDHUP", or
  // "nothing". A second wait has to report the same in both worlds, too: so what is
  // level-triggered is told once only.
  std::string Wait(int epoll);
  // The same by waits of a small capacity, `count` of them: "2+1: a IN, b IN, c IN". (The order of
  // events is nobody's promise.)
  std::string WaitInBatches(int epoll, std::size_t capacity, int count);

  // ---- Buffers: their sizes differ, and nothing that depends on them is compared

  // Sends until it would block, and nothing is on its way any more.
  void Fill(int fd);
  // Receives all that was sent by Fill(sender), though that takes its time.
  void Drain(int fd, int sender);
  // From now on a number of unread bytes is only some or none.
  void IgnoreSizes() noexcept { ignores_sizes_ = true; }

  // ---- Facts

  void Name(int fd, std::string_view name) { names_[fd] = name; }
  [[nodiscard]] const std::string& NameOf(int fd);
  [[nodiscard]] const std::vector<std::string>& transcript() const noexcept { return transcript_; }

 private:
  enum class Kind : std::uint8_t { kTcp, kUnix, kEventFd, kEpoll };
  using Events = std::map<std::uint64_t, std::uint32_t>;
  struct Look {
    std::uint32_t poll;
    int unread;
    int state;
    bool at_mark;
    bool operator==(const Look&) const = default;
  };

  // Makes a call in both worlds. In words, or as the number that it is.
  std::string Both(const std::string& what, const std::function<std::string(World&)>& call);
  std::string BothCount(const std::string& what, const std::function<long(World&)>& call);
  // One that returns a descriptor, or -errno.
  int BothOpen(const std::string& what, Kind kind, std::string_view name,
               const std::function<long(World&)>& call);
  void Settle(const std::string& after);
  [[nodiscard]] Look LookAt(World& world, int fd, Kind kind) const;
  [[noreturn]] void Fail(const std::string& what, const std::string& simulated,
                         const std::string& real);
  std::string Control(int operation, int epoll, int fd, std::uint32_t events,
                      std::string_view name);
  [[nodiscard]] std::uint64_t TagOf(int fd, std::string_view name);
  // Adds what a wait reports; returns how many events, or -errno.
  static long Collect(World& world, int epoll, std::size_t capacity, Events* events);
  [[nodiscard]] std::string Text(const Events& events) const;
  std::string WaitOnce(const std::string& what, int epoll);

  SimulatedWorld simulated_;
  RealWorld real_;
  Bound bound_;
  std::map<int, Kind> open_;
  std::map<int, std::string> names_;
  std::vector<std::string> tags_;                              // what an epoll's data stands for
  std::map<int, std::pair<std::size_t, std::size_t>> filled_;  // by sender: simulated, real
  std::vector<std::string> transcript_;
  int pairs_ = 0;
  int listeners_ = 0;
  bool ignores_sizes_ = false;
};

}  // namespace weir::sim::conformance
