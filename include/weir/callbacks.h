// A handler made of lambdas, for small programs and tests.
//
//     weir::CallbackHandler echo({.on_data = [](weir::Connection& connection, std::string_view in)
//     {
//       connection.Write(in);
//       return in.size();
//     }});
//
// OWNER     The handler owns the callables; the program owns the handler.
// THREADS   As Handler: with several loops, one handler each.
// ERRORS    As Handler. A callable that is not set does what Handler does.

#pragma once

#include <cstddef>
#include <string_view>
#include <system_error>
#include <utility>

#include "weir/function.h"
#include "weir/handler.h"

namespace weir {

// Each is the call of Handler whose name it has.
struct Callbacks {
  UniqueFunction<void(EventLoop&)> on_start{};
  UniqueFunction<bool(EventLoop&, const Accepted&)> on_accept{};
  UniqueFunction<void(Connection&)> on_open{};
  UniqueFunction<std::size_t(Connection&, std::string_view)> on_data{};
  UniqueFunction<void(Connection&)> on_end{};
  UniqueFunction<void(Connection&)> on_drain{};
  UniqueFunction<void(Connection&, TimeoutKind)> on_timeout{};
  UniqueFunction<void(Connection&, CloseReason, std::error_code)> on_close{};
  UniqueFunction<void(EventLoop&)> on_batch_end{};
  UniqueFunction<void(EventLoop&)> on_stop{};
};

class CallbackHandler final : public Handler {
 public:
  explicit CallbackHandler(Callbacks callbacks) noexcept : callbacks_(std::move(callbacks)) {}

  void OnStart(EventLoop& loop) override {
    if (callbacks_.on_start) callbacks_.on_start(loop);
  }
  bool OnAccept(EventLoop& loop, const Accepted& accepted) override {
    return callbacks_.on_accept ? callbacks_.on_accept(loop, accepted)
                                : Handler::OnAccept(loop, accepted);
  }
  void OnOpen(Connection& connection) override {
    if (callbacks_.on_open) callbacks_.on_open(connection);
  }
  std::size_t OnData(Connection& connection, std::string_view in) override {
    return callbacks_.on_data ? callbacks_.on_data(connection, in)
                              : Handler::OnData(connection, in);
  }
  void OnEnd(Connection& connection) override {
    callbacks_.on_end ? callbacks_.on_end(connection) : Handler::OnEnd(connection);
  }
  void OnDrain(Connection& connection) override {
    if (callbacks_.on_drain) callbacks_.on_drain(connection);
  }
  void OnTimeout(Connection& connection, TimeoutKind kind) override {
    callbacks_.on_timeout ? callbacks_.on_timeout(connection, kind)
                          : Handler::OnTimeout(connection, kind);
  }
  void OnClose(Connection& connection, CloseReason reason, std::error_code error) override {
    if (callbacks_.on_close) callbacks_.on_close(connection, reason, error);
  }
  void OnBatchEnd(EventLoop& loop) override {
    if (callbacks_.on_batch_end) callbacks_.on_batch_end(loop);
  }
  void OnStop(EventLoop& loop) override {
    callbacks_.on_stop ? callbacks_.on_stop(loop) : Handler::OnStop(loop);
  }

 private:
  Callbacks callbacks_;
};

}  // namespace weir
