#include "simulation/life.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>

#include "net/loop_access.h"
#include "simulation/program.h"
#include "weir/error.h"

namespace weir::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A life has a few hundred steps; one with so many does not end.
constexpr int kMostSteps = 1'000'000;

}  // namespace

Life::Life(World& world) : world_(world) {
  world_.judge = this;
  world_.scheduler.on_idle = [this] { OnIdle(); };
  static constexpr std::array<std::uint32_t, 4> kPreemption{0, 20, 4, 2};
  world_.scheduler.SetPreemption(
      kPreemption[world_.choices.Below(Stream::kOrder, kPreemption.size())]);
  PlanOptions();
}

Life::~Life() {
  world_.judge = nullptr;
  world_.scheduler.on_idle = nullptr;
  // After a finding its threads never end, and would be waited for.
  if (world_.scheduler.HasThreads()) static_cast<void>(server_.release());
}

// ---- The plan

void Life::PlanOptions() {
  static constexpr std::array<std::size_t, 4> kBuffers{64 << 10, 100, 1000, 5000};
  static constexpr std::array<std::size_t, 5> kChunks{4096, 1, 7, 100, 65536};
  static constexpr std::array<std::size_t, 4> kBudgets{256 << 10, 1, 100, 4000};
  world_.network.sizes = {.send = kBuffers[Plan(kBuffers.size())],
                          .receive = kBuffers[Plan(kBuffers.size())]};
  options_.loops = static_cast<int>(1 + Plan(5) / 2);
  options_.balance = static_cast<Balance>(Plan(4));
  options_.pin_cpus = Plan(8) == 7;
  options_.read_chunk = kChunks[Plan(kChunks.size())];
  options_.read_budget = kBudgets[Plan(kBudgets.size())];
  options_.write_budget = kBudgets[Plan(kBudgets.size())];
  options_.turn_budget = kBudgets[Plan(kBudgets.size())];
  options_.flush = Plan(4) == 3 ? Flush::kBatch : Flush::kCallback;
  options_.on_exception =
      Plan(16) == 15 ? OnException::kFinishTurnThenRethrow : OnException::kCloseConnection;
  // What is thrown out of a loop stops the server.
  stopped_hard_ = options_.on_exception == OnException::kFinishTurnThenRethrow;
  PlanLimits();
  PlanTimes();
}

void Life::PlanLimits() {
  static constexpr std::array<int, 3> kAccepts{64, 1, 2};
  static constexpr std::array<int, 3> kMails{256, 1, 3};
  static constexpr std::array<std::size_t, 4> kInputs{1 << 20, 64, 1000, 5000};
  struct Water {
    std::size_t high;
    std::size_t low;
  };
  static constexpr std::array<Water, 5> kWaters{
      {{256 << 10, 64 << 10}, {1000, 100}, {10, 0}, {5000, 5000}, {0, 0}}};
  static constexpr std::array<std::size_t, 5> kOutputs{64 << 20, 64 << 20, 300, 5000, 50000};
  static constexpr std::array<std::size_t, 4> kMemory{0, 0, 3000, 30000};
  static constexpr std::array<std::size_t, 4> kConnections{0, 0, 1, 3};
  static constexpr std::array<std::size_t, 4> kPosts{1 << 20, 1 << 20, 1, 4};
  options_.accepts_per_turn = kAccepts[Plan(kAccepts.size())];
  options_.mail_per_turn = kMails[Plan(kMails.size())];
  options_.max_input = kInputs[Plan(kInputs.size())];
  const Water water = kWaters[Plan(kWaters.size())];
  options_.high_water = water.high;
  options_.low_water = water.low;
  options_.auto_pause = Plan(4) != 3;
  options_.max_output = kOutputs[Plan(kOutputs.size())];
  options_.max_buffered = kMemory[Plan(kMemory.size())];
  options_.max_connections = kConnections[Plan(kConnections.size())];
  options_.max_mail = kPosts[Plan(kPosts.size())];
}

void Life::PlanTimes() {
  static constexpr std::array<milliseconds, 4> kIdle{milliseconds(0), milliseconds(0),
                                                     milliseconds(5), milliseconds(80)};
  static constexpr std::array<milliseconds, 3> kStall{seconds(60), milliseconds(20), seconds(1)};
  static constexpr std::array<milliseconds, 4> kLinger{seconds(5), seconds(5), milliseconds(0),
                                                       milliseconds(30)};
  static constexpr std::array<milliseconds, 3> kDrain{seconds(30), milliseconds(0),
                                                      milliseconds(20)};
  options_.idle_timeout = kIdle[Plan(kIdle.size())];
  options_.write_stall = kStall[Plan(kStall.size())];
  options_.close_linger = kLinger[Plan(kLinger.size())];
  options_.drain = kDrain[Plan(kDrain.size())];
}

void Life::PlanPeers() {
  static constexpr std::array<std::uint32_t, 6> kMost{1, 2, 4, 4, 8, 64};
  // Byte by byte, many would take all day.
  const bool is_slow = options_.read_chunk == 1 || options_.write_budget == 1;
  const std::uint32_t most = std::min(kMost[Plan(kMost.size())], is_slow ? 4U : 64U);
  const std::uint32_t count = 1 + Plan(Plan(4) == 3 ? most : std::min(most, 6U));
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto targets = static_cast<std::uint32_t>(targets_.size());
    peers_.emplace_back(world_, exchanges_.emplace_back(i + 1), targets_[Plan(targets)]);
    world_.scheduler.Add(peers_.back());
  }
  operator_.at = world_.scheduler.now() +
                 (Plan(6) == 5 ? milliseconds(1 + Plan(300)) : milliseconds(seconds(60)));
  world_.scheduler.Add(operator_);
}

// ---- From the first call to the last

void Life::Live() {
  world_.scheduler.Start([this] { Serve(); });
  for (int steps = 0; world_.finding().empty(); ++steps) {
    if (steps > kMostSteps) return world_.Find("endless: a life of {} steps", steps);
    if (world_.scheduler.Step()) continue;
    JudgeQuiet();
    if (!runs_ || stop_said_) break;
    StopServer();  // nothing else will ever happen
  }
  if (!world_.finding().empty()) return;
  if (world_.scheduler.HasThreads()) return world_.Find("hangs: a thread sleeps for ever");
  tickets_.Judge();
  JudgePeers();
}

void Life::Serve() {
  try {
    SetUp();
    Run();
  } catch (const Error& error) {
    const bool is_excused =
        world_.faults.Has(Fault::kSetUpFails) || world_.faults.Has(Fault::kAddFails);
    if (!is_excused) world_.Find("set-up: {}", error.what());
  } catch (const std::runtime_error&) {
    // What a handler threw, by OnException::kFinishTurnThenRethrow.
  }
  runs_ = false;
  // From here on nobody else uses the server.
  world_.scheduler.SleepUntil([this] { return helpers_ == 0; }, kNever);
  server_.reset();
  const std::size_t left = world_.server.OpenDescriptors();
  if (left != 0) world_.Find("leak: {} descriptors", left);
}

void Life::SetUp() {
  server_ = std::make_unique<Server>(
      [this](EventLoop&) { return std::make_unique<Program>(*this); }, options_);
  Listen();
  for (int i = 0; i < server_->Loops(); ++i) epolls_.push_back(server_->Loop(i).PollFd());
  PlanPeers();
  if (world_.faults.Has(Fault::kFewDescriptors)) {
    world_.server.SetLimit(world_.server.OpenDescriptors() + 1 + Plan(4));
    world_.faults.Note();
  }
}

void Life::Listen() {
  static constexpr std::array<const char*, 5> kUrls{"tcp://127.0.0.1:0", "unix:@weir",
                                                    "unix:/run/weir.sock",
                                                    "tcp://127.0.0.1:0?backlog=1", "tcp://:0"};
  const std::uint32_t first = Plan(kUrls.size());
  server_->Listen(kUrls[first]);
  if (Plan(3) == 2) server_->Listen(kUrls[(first + 1) % kUrls.size()]);
  for (const Address& address : server_->Addresses()) {
    Target target{.port = address.Port(), .path = {}};
    if (address.IsUnix()) {
      target.path = address.ToString();
      if (target.path[0] == '@') target.path[0] = '\0';
    }
    targets_.push_back(std::move(target));
  }
}

void Life::Run() {
  runs_ = true;
  const std::uint32_t posters = Plan(3);
  for (std::uint32_t i = 0; i < posters; ++i) {
    Poster& poster = posters_.emplace_back(*this, static_cast<int>(i));
    StartHelper([&poster] { poster.Run(); });
  }
  switch (Plan(16)) {
    case 14:
      server_->Start();
      // It is destroyed while it runs.
      stopped_hard_ = stop_said_ = true;
      world_.scheduler.SleepUntil([] { return false; },
                                  world_.scheduler.now() + milliseconds(Plan(100)));
      return;
    case 15:
      server_->Start();
      server_->Join();
      break;
    default:
      server_->Run();
      break;
  }
  JudgeLeftovers();
}

void Life::StartHelper(Work work) {
  ++helpers_;
  world_.scheduler.Start([this, work = std::move(work)]() mutable {
    work();
    --helpers_;
  });
}

bool Life::PeersAreDone() const noexcept {
  return std::all_of(peers_.begin(), peers_.end(), [](const Peer& peer) { return peer.IsDone(); });
}

void Life::StopServer() {
  stop_said_ = true;
  StartHelper([this] {
    static constexpr std::array<Duration, 4> kGraces{Duration::max(), milliseconds(0),
                                                     milliseconds(10), seconds(1)};
    const Duration grace = kGraces[Plan(kGraces.size())];
    grace_ = grace == Duration::max() ? options_.drain : grace;
    stopped_at_ = world_.scheduler.now();
    world_.Trace("stop, with {} ms", std::chrono::duration_cast<milliseconds>(grace_).count());
    server_->Stop(grace);
    if (Plan(6) == 5) {
      stopped_hard_ = true;
      server_->Stop();  // now
    }
  });
}

bool Life::Operator::CanAct() {
  if (life_.stop_said_ || !life_.runs_) {
    at = kNever;
    return false;
  }
  return life_.stop_soon_ || life_.PeersAreDone() || at <= life_.world_.scheduler.now();
}

void Life::Operator::Act() {
  at = kNever;
  life_.StopServer();
}

bool Life::MayRun(int loop) const noexcept {
  return runs_ && !stop_said_ && !server_->Loop(loop).IsStopped();
}

// ---- For the program

Exchange* Life::Find(const Connection& connection) {
  if (Exchange* const* const known = connection.TryGet<Exchange*>()) return *known;
  const Socket* const socket = world_.server.FindSocket(connection.Fd());
  const auto found = std::find_if(exchanges_.begin(), exchanges_.end(), [&](const Exchange& one) {
    return one.socket == socket && socket != nullptr;
  });
  return found == exchanges_.end() ? nullptr : &*found;
}

Exchange* Life::AnyOpenOn(int loop) {
  std::vector<Exchange*> there;
  for (Exchange* const exchange : open_) {
    if (exchange->loop == loop && exchange->ref.Get() != nullptr) there.push_back(exchange);
  }
  return there.empty() ? nullptr : there[Plan(static_cast<std::uint32_t>(there.size()))];
}

}  // namespace weir::sim
