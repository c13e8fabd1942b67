#include "echo_load/load.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "echo_load/cpu_time.h"
#include "echo_load/failure.h"

namespace echo_load {
namespace {

constexpr std::chrono::seconds kSilenceLimit{10};

void AllowDescriptors(std::size_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
  ::setrlimit(RLIMIT_NOFILE, &limit);  // too low still: the socket that fails will say so
}

}  // namespace

Load::Load(const Options& options)
    : options_(options), target_(ParseUrl(options.url)), buffer_(kChunk) {}

void Load::Open() {
  AllowDescriptors(options_.connections + 16);
  epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (epoll_.Get() < 0) throw Failure("epoll_create1: " + ErrorText(errno));
  connections_.reserve(options_.connections);
  while (connections_.size() < options_.connections) OpenOne();
  open_ = connections_.size();
}

void Load::Run() {
  const auto server_time = [&] {
    return options_.server_pid == 0 ? std::chrono::nanoseconds() : CpuTime(options_.server_pid);
  };
  const std::chrono::nanoseconds server_time_before = server_time();
  AskUntil(Clock::now() + std::chrono::duration_cast<Clock::duration>(options_.time), nullptr);
  server_time_ = server_time() - server_time_before;
  Finish();
}

void Load::Ask(std::chrono::duration<double> time, const std::function<void()>& halfway) {
  latencies_ = Histogram();
  AskUntil(Clock::now() + std::chrono::duration_cast<Clock::duration>(time), halfway);
  while (!std::ranges::all_of(connections_, &Connection::Idle)) Turn(Clock::time_point::max());
}

void Load::Finish() {
  for (Connection& connection : connections_) {
    connection.Finish();
    Watch(connection);
  }
  while (open_ > 0) Turn(Clock::time_point::max());
}

void Load::Reset() {
  for (Connection& connection : connections_) connection.Reset();
  open_ = 0;
}

std::uint64_t Load::Answered() const {
  std::uint64_t answered = 0;
  for (const Connection& connection : connections_) answered += connection.Answered();
  return answered;
}

void Load::AskUntil(Clock::time_point end, const std::function<void()>& halfway) {
  const Clock::time_point began = Clock::now();
  last_byte_ = began;
  asking_ = true;
  for (Connection& connection : connections_) {
    connection.AskFirst(Clock::now());
    connection.Send();
    Watch(connection);
  }
  if (halfway) {
    const Clock::time_point middle = began + (end - began) / 2;
    while (Clock::now() < middle) Turn(middle);
    halfway();
  }
  while (Clock::now() < end) Turn(end);
  asking_ = false;
  elapsed_ = Clock::now() - began;
}

void Load::OpenOne() {
  const std::size_t index = connections_.size();
  try {
    connections_.emplace_back(ConnectAndWatch(index), index + 1, options_, pattern_);
  } catch (const Failure& failure) {
    throw Failure(fmt::format("opened {} of {} connections to {}, then {}", index,
                              options_.connections, options_.url, failure.what()));
  }
}

Fd Load::ConnectAndWatch(std::size_t index) {
  Fd fd = Connect(target_);
  epoll_event event{.events = EPOLLIN, .data = {.u64 = index}};
  if (::epoll_ctl(epoll_.Get(), EPOLL_CTL_ADD, fd.Get(), &event) != 0) {
    throw Failure("epoll_ctl: " + ErrorText(errno));
  }
  return fd;
}

// Waits, until `end` at most, and handles what has come.
void Load::Turn(Clock::time_point end) {
  const Clock::time_point until = std::min(end, last_byte_ + kSilenceLimit);
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(
      std::max(until - Clock::now(), Clock::duration{}));
  std::array<epoll_event, 256> events{};
  const int count = ::epoll_wait(epoll_.Get(), events.data(), static_cast<int>(events.size()),
                                 static_cast<int>(wait.count()));
  if (count < 0 && errno != EINTR) throw Failure("epoll_wait: " + ErrorText(errno));
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    Handle(connections_[event.data.u64], event.events);
  }
  if (Clock::now() - last_byte_ >= kSilenceLimit) Silence();
}

void Load::Handle(Connection& connection, std::uint32_t events) {
  if ((events & ~std::uint32_t{EPOLLOUT}) != 0 &&
      connection.Receive(buffer_, asking_, latencies_)) {
    last_byte_ = Clock::now();
  }
  if (connection.Ended()) {
    --open_;
    return;
  }
  if (options_.reconnect && asking_ && connection.Idle()) Renew(connection);
  connection.Send();
  Watch(connection);
}

void Load::Renew(Connection& connection) {
  const Clock::time_point began = Clock::now();
  try {
    connection.Renew(ConnectAndWatch(static_cast<std::size_t>(&connection - connections_.data())));
  } catch (const Failure& failure) {
    throw Failure(fmt::format("after {} short connections to {}, {}", latencies_.Total(),
                              options_.url, failure.what()));
  }
  connection.AskFirst(began);
}

// Output is asked of epoll only while a send is blocked: it is level-triggered.
void Load::Watch(Connection& connection) {
  if (connection.Blocked() == connection.watched_for_output) return;
  connection.watched_for_output = connection.Blocked();
  epoll_event event{};
  event.events = EPOLLIN | (connection.Blocked() ? std::uint32_t{EPOLLOUT} : 0U);
  event.data.u64 = static_cast<std::uint64_t>(&connection - connections_.data());
  if (::epoll_ctl(epoll_.Get(), EPOLL_CTL_MOD, connection.Descriptor(), &event) != 0) {
    throw Failure("epoll_ctl: " + ErrorText(errno));
  }
}

void Load::Silence() const {
  const auto waiting = std::ranges::find_if_not(connections_, &Connection::Ended);
  throw Failure(fmt::format("{}, then nothing more{} for {} s", waiting->Position(),
                            asking_ ? "" : ", not even the server's end,",
                            kSilenceLimit / std::chrono::seconds(1)));
}

void Load::PrintTable() const {
  fmt::print("{:>11} {:>9} {:>6} {:>10} {:>11} {:>8} {:>9} {:>9} {:>9}\n", "connections", "bytes",
             "depth", "requests", "requests/s", "MB/s", "p50 us", "p99 us", "p99.9 us");
  fmt::print("{:>11} {:>9} {:>6} {:>10} {:>11.0f} {:>8.1f} {:>9.0f} {:>9.0f} {:>9.0f}\n",
             options_.connections, options_.size_bytes, options_.depth, latencies_.Total(),
             PerSecond(), MegabytesPerSecond(), latencies_.QuantileMicros(0.5),
             latencies_.QuantileMicros(0.99), latencies_.QuantileMicros(0.999));
  if (options_.server_pid != 0) {
    fmt::print("The server took {:.3f} us of CPU time for a request.\n", ServerMicrosPerRequest());
  }
}

void Load::PrintJson() const {
  fmt::print(
      "{{\"connections\":{},\"bytes\":{},\"depth\":{},\"seconds\":{:.3f},\"requests\":{},"
      "\"requests_per_second\":{:.0f},\"megabytes_per_second\":{:.3f},"
      "\"p50_us\":{:.1f},\"p99_us\":{:.1f},\"p999_us\":{:.1f},\"worst_us\":{:.1f}",
      options_.connections, options_.size_bytes, options_.depth, elapsed_.count(),
      latencies_.Total(), PerSecond(), MegabytesPerSecond(), latencies_.QuantileMicros(0.5),
      latencies_.QuantileMicros(0.99), latencies_.QuantileMicros(0.999), latencies_.WorstMicros());
  if (options_.server_pid != 0) {
    fmt::print(",\"server_us_per_request\":{:.4f}", ServerMicrosPerRequest());
  }
  fmt::print("}}\n");
}

}  // namespace echo_load
