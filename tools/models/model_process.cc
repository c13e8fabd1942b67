#include "models/model_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "echo_load/failure.h"
#include "echo_load/fd.h"
#include "models/asleep.h"
#include "models/serve.h"
#include "models/server_child.h"
#include "models/servers/server.h"

namespace models {
namespace {

// For the server's process: becomes this program anew, and nothing of the laboratory stays in it.
[[noreturn]] void Become(const Model& model, int listener, int shared_page) {
  std::vector<std::string> words = ChildArguments(model.name, listener, shared_page);
  words.insert(words.begin(), "weir-models");
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::fcntl(listener, F_SETFD, 0);
  ::fcntl(shared_page, F_SETFD, 0);
  ::execv("/proc/self/exe", arguments.data());
  fmt::print(stderr, "execv /proc/self/exe: {}\n", echo_load::ErrorText(errno));
  ::_exit(127);
}

}  // namespace

ModelProcess::ModelProcess(const Model& model, std::optional<int> cpu) {
  const Listener listener = Listen(0);
  const echo_load::Fd owner(listener.fd);
  ListensAt(fmt::format("tcp://127.0.0.1:{}", listener.port));
  Start(cpu, [&] { Become(model, listener.fd, page_.Descriptor()); });
}

Switches ModelProcess::ReadSwitches() {
  const std::uint64_t question = page_->asked.load() + 1;
  page_->asked = question;
  if (!Ended()) ::kill(Pid(), SIGUSR1);  // and never kill(0), which is the laboratory itself
  AwaitAlive([&] { return page_->answered.load() == question; },
             "the server does not tell what it uses");
  // The signal has ended its wait: that it waits again is still a part of this.
  AwaitAlive([&] { return FirstThreadSleeps(Pid()); }, "the server does not come to rest");
  return {.wakeups = page_->wakeups.load(), .preemptions = page_->preemptions.load()};
}

std::optional<Calls> ModelProcess::ReadCalls() const {
  const Counters& counters = page_->counters;
  return Calls{.waits = counters.waits.load(),
               .receives = counters.receives.load(),
               .sends = counters.sends.load(),
               .in_vain = counters.in_vain.load(),
               .others = counters.others.load() + counters.threads.load()};
}

bool ModelProcess::SaysNotToBeHad(int status) const {
  return WIFEXITED(status) && WEXITSTATUS(status) == kNotToBeHad;
}

}  // namespace models
