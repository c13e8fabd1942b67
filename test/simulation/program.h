// The program that embeds weir: handlers that do everything a program may do, and check what they
// are told.
//
// OWNER     The server, but for the second handler, which is the first one's.
// THREADS   That of its loop.

#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <system_error>

#include "simulation/life.h"
#include "weir/connection.h"
#include "weir/event_loop.h"
#include "weir/handler.h"

namespace weir::sim {

class Program final : public Handler {
 public:
  explicit Program(Life& life, bool has_second = true);

  bool OnAccept(EventLoop& loop, const Accepted& accepted) override;
  void OnOpen(Connection& connection) override;
  std::size_t OnData(Connection& connection, std::string_view in) override;
  void OnEnd(Connection& connection) override;
  void OnDrain(Connection& connection) override;
  void OnTimeout(Connection& connection, TimeoutKind kind) override;
  void OnClose(Connection& connection, CloseReason reason, std::error_code error) override;
  void OnStop(EventLoop& loop) override;

 private:
  // The exchange, when a callback may come; what is wrong is found.
  Exchange* Expect(Connection& connection, const char* callback);
  Exchange* ExpectOpen(Connection& connection, const char* callback);
  std::size_t Consume(Exchange& exchange, Connection& connection, std::string_view in);
  // One of the things that a program may do in a callback.
  void Act(Exchange& exchange, Connection& connection);
  void ActOnOther(Exchange& exchange);
  void SetTimes(Exchange& exchange, Connection& connection);
  void End(Exchange& exchange, Connection& connection);

  Life& life_;
  std::unique_ptr<Program> second_;
};

// What a program does to a connection, on its loop, and notes.
void WriteSome(Life& life, Exchange& exchange, std::size_t count);
void Pause(Life& life, Exchange& exchange);
void Resume(Exchange& exchange);
void CloseIt(Exchange& exchange);
void AbortIt(Exchange& exchange);

}  // namespace weir::sim
