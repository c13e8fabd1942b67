// A handler that writes down what it is called with, and does what a test tells it.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "weir/weir.h"

namespace weir::test {

class Recorder : public Handler {
 public:
  // What came. `calls` is the order of it all: "open", "data 5", "drain", "timeout idle", "end",
  // "close", "batch", "stop".
  std::vector<std::string> calls;
  std::string text;
  int opens = 0;
  int ends = 0;
  int drains = 0;
  int timeouts = 0;
  int closes = 0;
  int batches = 0;
  CloseReason reason = CloseReason::kLocal;
  std::error_code closed_with;
  Connection* last = nullptr;  // the connection of the latest OnOpen; null after its OnClose

  // What to do. Without on_data everything is consumed; without on_end the connection closes;
  // without on_timeout Handler's default happens.
  std::function<void(EventLoop&)> on_start;
  std::function<bool(const Accepted&)> on_accept;
  std::function<void(Connection&)> on_open;
  std::function<std::size_t(Connection&, std::string_view)> on_data;
  std::function<void(Connection&)> on_end;
  std::function<void(Connection&)> on_drain;
  std::function<void(Connection&, TimeoutKind)> on_timeout;
  std::function<void(Connection&)> on_close;
  std::function<void(EventLoop&)> on_batch_end;
  std::function<void(EventLoop&)> on_stop;

  void OnStart(EventLoop& loop) override {
    calls.emplace_back("start");
    if (on_start) on_start(loop);
  }
  bool OnAccept(EventLoop&, const Accepted& accepted) override {
    return !on_accept || on_accept(accepted);
  }
  void OnOpen(Connection& connection) override {
    calls.emplace_back("open");
    ++opens;
    last = &connection;
    if (on_open) on_open(connection);
  }
  std::size_t OnData(Connection& connection, std::string_view in) override {
    calls.push_back("data " + std::to_string(in.size()));
    if (!on_data) {
      text += in;
      return in.size();
    }
    return on_data(connection, in);
  }
  void OnEnd(Connection& connection) override {
    calls.emplace_back("end");
    ++ends;
    if (on_end) {
      on_end(connection);
    } else {
      connection.Close();
    }
  }
  void OnDrain(Connection& connection) override {
    calls.emplace_back("drain");
    ++drains;
    if (on_drain) on_drain(connection);
  }
  void OnTimeout(Connection& connection, TimeoutKind kind) override {
    static constexpr const char* kNames[] = {"timeout idle", "timeout read", "timeout write"};
    calls.emplace_back(kNames[static_cast<std::size_t>(kind)]);
    ++timeouts;
    if (on_timeout) {
      on_timeout(connection, kind);
    } else {
      Handler::OnTimeout(connection, kind);
    }
  }
  void OnClose(Connection& connection, CloseReason why, std::error_code error) override {
    calls.emplace_back("close");
    ++closes;
    reason = why;
    closed_with = error;
    if (on_close) on_close(connection);
    if (last == &connection) last = nullptr;
  }
  void OnBatchEnd(EventLoop& loop) override {
    calls.emplace_back("batch");
    ++batches;
    if (on_batch_end) on_batch_end(loop);
  }
  void OnStop(EventLoop& loop) override {
    calls.emplace_back("stop");
    if (on_stop) {
      on_stop(loop);
    } else {
      loop.DrainAll();
    }
  }
};

// Sends back what it receives.
class EchoRecorder : public Recorder {
 public:
  EchoRecorder() {
    on_data = [this](Connection& connection, std::string_view in) {
      text += in;
      connection.Write(in);
      return in.size();
    };
  }
};

}  // namespace weir::test
