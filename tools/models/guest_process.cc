#include "models/guest_process.h"

#include <sys/wait.h>

#include <csignal>
#include <filesystem>
#include <string>

#include "models/guest.h"

namespace models {

GuestProcess::GuestProcess(const Model& guest, std::optional<int> cpu) {
  Start(cpu, [&] { BecomeGuest(guest, printed_); });
}

void GuestProcess::AwaitListening() {
  AwaitAlive([&] { return GuestUrl(printed_).has_value(); }, kNoGuestUrl);
  ListensAt(*GuestUrl(printed_));
}

Switches GuestProcess::ReadSwitches() {
  AwaitRest();  // to go to sleep after the last request is a part of that
  Switches sum;
  for (const auto& thread : std::filesystem::directory_iterator(ProcFile("task"))) {
    const std::string status = thread.path() / "status";
    sum.wakeups += NumberIn(status, "voluntary_ctxt_switches:");
    sum.preemptions += NumberIn(status, "nonvoluntary_ctxt_switches:");
  }
  return sum;
}

bool GuestProcess::EndsWell(int status) const {
  return status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

}  // namespace models
