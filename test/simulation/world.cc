#include "simulation/world.h"

#include <chrono>

namespace weir::sim {

World* World::current_ = nullptr;

World::World(Choices& all_choices, std::FILE* trace) : choices(all_choices), trace_(trace) {
  current_ = this;
  scheduler.Add(weather_);
  network.choose_listener = [this](std::size_t count) {
    return static_cast<std::size_t>(
        choices.Below(Stream::kOrder, static_cast<std::uint32_t>(count)));
  };
}

World::~World() { current_ = nullptr; }

void World::BeginCall() {
  ++tally.calls;
  scheduler.Advance(std::chrono::microseconds(1));
  if (faults.Strikes(Fault::kTimeJump)) {
    const std::uint32_t jump = choices.Between(Stream::kFaults, 1, 1000);
    scheduler.Advance(std::chrono::milliseconds(jump));
  }
  scheduler.MaybeYield();
}

void World::Note(std::string finding) {
  Trace("FINDING {}", finding);
  if (finding_.empty()) finding_ = std::move(finding);
}

void World::Tell(const std::string& line) {
  const auto since = scheduler.now() - Clock::time_point(std::chrono::seconds(1'000'000));
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(since).count();
  fmt::print(trace_, "{:>10.3f} ms  {}\n", static_cast<double>(us) / 1000, line);
}

// ---- The weather

TcpSocket* World::Weather::NextInFlight() const {
  const std::vector<TcpSocket*>& sockets = world_.network.tcp_sockets();
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    TcpSocket* const socket = sockets[(next_ + i) % sockets.size()];
    if (socket->holds_back && socket->HasInFlight()) return socket;
  }
  return nullptr;
}

bool World::Weather::CanAct() { return !world_.without_room_.empty() || NextInFlight() != nullptr; }

void World::Weather::Act() {
  if (!world_.without_room_.empty()) {
    Socket* const socket = world_.without_room_.back();
    world_.without_room_.pop_back();
    socket->TellRoom();
    return;
  }
  next_ += world_.choices.Below(Stream::kOrder, 4);
  if (TcpSocket* const socket = NextInFlight()) {
    static constexpr std::size_t kSome = 4096;
    socket->Arrive(kSome >> world_.choices.Below(Stream::kOrder, 12));
  }
}

}  // namespace weir::sim
