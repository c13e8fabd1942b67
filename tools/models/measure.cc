#include "models/measure.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <stdexcept>

#include "echo_load/failure.h"
#include "echo_load/load.h"
#include "echo_load/options.h"
#include "models/cpu_distance.h"
#include "models/guest_process.h"
#include "models/model_process.h"
#include "models/server_process.h"

namespace models {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr Seconds kWarmUp{0.05};
constexpr Seconds kQuiet{0.2};
constexpr std::size_t kRequestBytes = 64;

echo_load::Options LoadOptions(const ServerProcess& server, std::size_t connections) {
  echo_load::Options options;
  options.url = server.Url();
  options.connections = connections;
  options.size_bytes = kRequestBytes;
  return options;
}

// The server's figures, between two moments in which nothing is in flight. To ask for the context
// switches costs the server something: that happens outside the other figures.
class Window final {
 public:
  explicit Window(ServerProcess& server)
      : server_(server),
        switches_(server.ReadSwitches()),
        cpu_(server.CpuTime()),
        calls_(server.ReadCalls()) {}

  void End() {
    cpu_ = server_.CpuTime() - cpu_;
    if (const auto calls = server_.ReadCalls()) calls_ = calls->Since(*calls_);
    const Switches switches = server_.ReadSwitches();
    switches_ = {.wakeups = switches.wakeups - switches_.wakeups,
                 .preemptions = switches.preemptions - switches_.preemptions};
  }

  // What was used between the constructor and End().
  [[nodiscard]] Seconds Cpu() const { return cpu_; }
  [[nodiscard]] const std::optional<Calls>& Made() const { return calls_; }
  [[nodiscard]] const Switches& Switched() const { return switches_; }

 private:
  ServerProcess& server_;
  Switches switches_;
  std::chrono::nanoseconds cpu_;
  std::optional<Calls> calls_;
};

void MeasureMemory(ServerProcess& server, echo_load::Load& crowd, std::size_t idle,
                   Measured& measured) {
  const auto private_before = static_cast<double>(server.PrivateBytes());
  const auto stacks_before = static_cast<double>(KernelStackBytes());
  crowd.Open();
  crowd.Ask(Seconds::zero());
  const auto connections = static_cast<double>(idle);
  const auto grown = [&](std::size_t now, double before) {
    return std::max((static_cast<double>(now) - before) / connections, 0.0);
  };
  measured.bytes_per_connection = grown(server.PrivateBytes(), private_before);
  measured.kernel_stack_per_connection = grown(KernelStackBytes(), stacks_before);
}

void MeasureQuiet(ServerProcess& server, Measured& measured) {
  Window window(server);
  const timespec time{.tv_sec = 0, .tv_nsec = static_cast<long>(kQuiet.count() * 1e9)};
  ::nanosleep(&time, nullptr);
  window.End();
  measured.idle_cpu_percent = 100 * window.Cpu() / kQuiet;
  // The question at the beginning may have woken it: to sleep again after that is no wake-up.
  const std::uint64_t ours = server.WakeupsOfReading();
  const std::uint64_t wakeups = std::max(window.Switched().wakeups, ours) - ours;
  measured.idle_wakeups_per_second = static_cast<double>(wakeups) / kQuiet.count();
}

double DistanceNs(const std::optional<Cpus>& cpus) {
  return cpus ? CpuDistance(cpus->load, cpus->server).count() : 0;
}

void MeasureRequests(ServerProcess& server, echo_load::Load& active, double seconds,
                     const std::optional<Cpus>& cpus, Measured& measured) {
  const double distance_before = DistanceNs(cpus);
  const std::uint64_t answered_before = active.Answered();
  Window window(server);
  active.Ask(Seconds(seconds), [&] { measured.threads = static_cast<double>(server.Threads()); });
  server.AwaitRest();
  window.End();
  measured.cpu_distance_ns = std::max(distance_before, DistanceNs(cpus));
  const auto requests = static_cast<double>(active.Answered() - answered_before);
  const auto each = [&](std::uint64_t count) { return static_cast<double>(count) / requests; };

  const Switches& switched = window.Switched();
  measured.requests_per_cpu_second =
      requests / std::max(window.Cpu(), Seconds(std::chrono::microseconds(1))).count();
  measured.requests_per_second =
      static_cast<double>(active.Latencies().Total()) / active.Elapsed().count();
  const bool any = active.Latencies().Total() != 0;
  const auto quantile = [&](double share) {
    return any ? active.Latencies().QuantileMicros(share) : std::nan("");
  };
  measured.p50_us = quantile(0.5);
  measured.p999_us = quantile(0.999);
  measured.wakeups = each(switched.wakeups);
  measured.switches = each(switched.wakeups + switched.preemptions);
  const std::optional<Calls>& made = window.Made();
  if (!made) return;
  measured.calls = each(made->Total());
  measured.waits = each(made->waits);
  measured.copies = each(made->receives + made->sends);
  measured.in_vain = each(made->in_vain);
  measured.others = each(made->others);
}

Measured MeasureServer(ServerProcess& server, const Load& load, const std::optional<Cpus>& cpus) {
  Measured measured;
  server.AwaitListening();
  const echo_load::Options active_options = LoadOptions(server, load.active);
  const echo_load::Options idle_options = LoadOptions(server, load.idle);
  echo_load::Load active(active_options);
  echo_load::Load crowd(idle_options);
  active.Open();
  active.Ask(kWarmUp);
  if (load.idle != 0) MeasureMemory(server, crowd, load.idle, measured);
  MeasureQuiet(server, measured);
  MeasureRequests(server, active, load.seconds, cpus, measured);
  active.Finish();
  if (load.idle != 0) crowd.Reset();  // 10,000 ports in TIME_WAIT would burden whoever comes next
  server.Stop();
  return measured;
}

std::unique_ptr<ServerProcess> StartServer(const Model& model, const std::optional<Cpus>& cpus) {
  const std::optional<int> cpu = cpus ? std::optional(cpus->server) : std::nullopt;
  if (model.IsGuest()) return std::make_unique<GuestProcess>(model, cpu);
  return std::make_unique<ModelProcess>(model, cpu);
}

// What the server says of it is the better reason.
Refused Explain(const std::runtime_error& failure, ServerProcess& server) {
  const std::string said = server.Said();
  const auto ended = server.Ended();
  if (server.IsNotToBeHad()) return {.why = said, .expected = true};
  const bool is_wrong = dynamic_cast<const echo_load::WrongEcho*>(&failure) != nullptr;
  const bool expected = !ended && !is_wrong && said.find("is refused") != std::string::npos;
  std::string why = failure.what();
  if (ended) why += fmt::format("; the server {}", *ended);
  if (!said.empty()) why += fmt::format("; the server said: '{}'", said);
  return {.why = std::move(why), .expected = expected};
}

}  // namespace

Outcome Measure(const Model& model, const Load& load, const std::optional<Cpus>& cpus) {
  std::unique_ptr<ServerProcess> server;
  try {
    server = StartServer(model, cpus);
    return {.measured = MeasureServer(*server, load, cpus), .refused = {}};
  } catch (const std::runtime_error& failure) {  // Failure, or std::system_error
    return {.measured = std::nullopt,
            .refused = server ? Explain(failure, *server) : Refused{.why = failure.what()}};
  }
}

}  // namespace models
