#include "simulation/play.h"

#include "simulation/life.h"
#include "simulation/world.h"
#include "weir/log.h"

namespace weir::sim {

namespace {

// The library's log is of no interest here: what goes wrong is meant to.
void SilenceLog() {
  static const bool done = [] {
    Logger()->set_level(spdlog::level::off);
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace

Outcome Play(Choices& choices, std::FILE* trace) {
  SilenceLog();
  World world(choices, trace);
  {
    Life life(world);
    life.Live();
  }
  world.tally.faults = world.faults.count();
  return {.finding = world.finding(), .tally = world.tally};
}

}  // namespace weir::sim
