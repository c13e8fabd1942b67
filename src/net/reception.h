// Takes in the sockets that were accepted on one listener, here or by another loop: asks the
// handler, keeps the limits, and opens the connection.
//
// OWNER     Acceptor.
// THREADS   The loop's thread.
// ERRORS    None: whoever cannot be served is closed, and counted as refused.

#pragma once

#include <string>
#include <utility>

#include "net/loop_core.h"
#include "os/unique_fd.h"
#include "weir/handler.h"

namespace weir {

class Reception {
 public:
  Reception(LoopCore& core, int number, std::string url, bool is_unix)
      : core_(core),
        number_(number),
        url_(std::move(url)),
        wire_(is_unix ? core.unix_stream : core.tcp) {}

  // Before the first Take().
  void SetHandler(Handler& handler) noexcept { handler_ = &handler; }
  [[nodiscard]] Handler* handler() const noexcept { return handler_; }

  void Take(UniqueFd fd, const Address& peer);

  // A client is closed without having been served.
  void Refuse(UniqueFd fd);
  void NoteRefused() noexcept { core_.engine.counters().refused.Add(1); }

  [[nodiscard]] int number() const noexcept { return number_; }
  [[nodiscard]] const std::string& url() const noexcept { return url_; }

 private:
  [[nodiscard]] bool HandlerTakes(int fd, const Address& peer);
  [[nodiscard]] ConnectionImpl* Allocate();

  LoopCore& core_;
  const int number_;
  const std::string url_;
  Wire& wire_;
  Handler* handler_ = nullptr;
};

}  // namespace weir
