#include "server/signal_source.h"

#include <utility>

#include "os/sys.h"
#include "weir/error.h"

namespace weir {
namespace {

sigset_t SetOf(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  return set;
}

}  // namespace

SignalSource::SignalSource(Engine& engine, std::initializer_list<int> signals,
                           UniqueFunction<void(int)> on_signal)
    : engine_(engine), on_signal_(std::move(on_signal)) {
  const sigset_t set = SetOf(signals);
  const int fd = sys::SignalFd(&set);
  if (fd < 0) throw Error::System("signalfd", -fd);
  fd_.reset(fd);
  token_ = engine_.AddSource(*this, fd_.get(), Interest::kWake);
  // Blocked last: nothing below can fail, so the mask is sure to be put back.
  static_cast<void>(sys::SignalMask(SIG_BLOCK, &set, &mask_before_));
}

SignalSource::~SignalSource() {
  engine_.RemoveSource(token_);
  // One that came too late to be acted on is not to kill, once it is no longer blocked.
  signalfd_siginfo ignored;
  while (sys::Read(fd_.get(), &ignored, sizeof ignored) > 0) {
  }
  fd_.reset();
  static_cast<void>(sys::SignalMask(SIG_SETMASK, &mask_before_, nullptr));
}

void SignalSource::OnEdge(Edge) {
  signalfd_siginfo info;
  while (sys::Read(fd_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    on_signal_(static_cast<int>(info.ssi_signo));
  }
}

}  // namespace weir
