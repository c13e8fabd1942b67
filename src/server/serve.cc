#include "weir/serve.h"

#include <csignal>
#include <exception>
#include <utility>

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

void Run(Server& server, std::span<const std::string_view> urls) {
  // First of all, so that a signal which comes while listeners are made is a drain, too. Loop 0
  // hears them: it runs on this thread, and when it ends all do.
  LoopImpl& first = LoopAccess::Impl(server.Loop(0));
  SignalSource signals(first.engine(), {SIGINT, SIGTERM}, [&server](int signal) {
    log::Info("signal {}: stopping", signal);
    server.Stop();
  });
  for (const std::string_view url : urls) server.Listen(url);
  server.Run();
}

// Handlers: a Server::Factory, or one Handler&.
template <class Handlers>
int ServeBy(Handlers&& handlers, std::span<const std::string_view> urls, const Options& options) {
  try {
    Server server(std::forward<Handlers>(handlers), options);
    Run(server, urls);
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

}  // namespace

int Serve(Server::Factory factory, std::span<const std::string_view> urls, const Options& options) {
  return ServeBy(std::move(factory), urls, options);
}

int Serve(Handler& handler, std::span<const std::string_view> urls, const Options& options) {
  return ServeBy(handler, urls, options);
}

}  // namespace weir
