#include "weir/serve.h"

#include <csignal>
#include <exception>

#include "base/log.h"
#include "net/loop_access.h"
#include "server/signal_source.h"
#include "weir/error.h"
#include "weir/event_loop.h"

namespace weir {
namespace {

constexpr int kOk = 0;
constexpr int kRunTimeError = 1;
constexpr int kUsageError = 2;

void Run(EventLoop& loop, Handler& handler, std::span<const std::string_view> urls) {
  // First of all, so that a signal which comes while listeners are made is a drain, too.
  SignalSource signals(LoopAccess::Impl(loop).engine(), {SIGINT, SIGTERM}, [&loop](int signal) {
    log::Info("signal {}: stopping", signal);
    loop.Stop();
  });
  for (const std::string_view url : urls) loop.Listen(url, handler);
  loop.Run();
}

}  // namespace

int Serve(Handler& handler, std::span<const std::string_view> urls, const Options& options) {
  try {
    EventLoop loop(options);
    Run(loop, handler, urls);
    return kOk;
  } catch (const Error& error) {
    log::Error("{}", error.what());
    return error.IsUsage() ? kUsageError : kRunTimeError;
  } catch (const std::exception& exception) {
    log::Error("{}", exception.what());
    return kRunTimeError;
  } catch (...) {
    log::Error("OnStart threw something that is no std::exception");
    return kRunTimeError;
  }
}

}  // namespace weir
