#include "weir/handler.h"

#include "weir/connection.h"
#include "weir/event_loop.h"

namespace weir {

std::string_view ToString(CloseReason reason) noexcept {
  switch (reason) {
    case CloseReason::kPeerEnd:
      return "peer end";
    case CloseReason::kLocal:
      return "local";
    case CloseReason::kError:
      return "error";
    case CloseReason::kTimeout:
      return "timeout";
    case CloseReason::kInputLimit:
      return "input limit";
    case CloseReason::kOutputLimit:
      return "output limit";
    case CloseReason::kRejected:
      return "rejected";
    case CloseReason::kException:
      return "exception";
    case CloseReason::kShutdown:
      return "shutdown";
  }
  return "unknown";
}

void Handler::OnStart(EventLoop&) {}
bool Handler::OnAccept(EventLoop&, const Accepted&) { return true; }
void Handler::OnOpen(Connection&) {}
std::size_t Handler::OnData(Connection&, std::string_view in) { return in.size(); }
void Handler::OnEnd(Connection& connection) { connection.Close(); }
void Handler::OnDrain(Connection&) {}
void Handler::OnTimeout(Connection& connection, TimeoutKind kind) {
  kind == TimeoutKind::kWrite ? connection.Abort() : connection.Close();
}
void Handler::OnClose(Connection&, CloseReason, std::error_code) {}
void Handler::OnBatchEnd(EventLoop&) {}
void Handler::OnStop(EventLoop& loop) { loop.DrainAll(); }

}  // namespace weir
