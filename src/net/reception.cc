#include "net/reception.h"

#include <fmt/format.h>

#include <new>
#include <utility>

#include "base/log.h"

namespace weir {

void Reception::Take(UniqueFd fd, const Address& peer) {
  const std::size_t most = core_.options.max_connections;
  const bool has_room = most == 0 || core_.table.live() < most;
  if (!has_room || !HandlerTakes(fd.get(), peer)) return Refuse(std::move(fd));
  ConnectionImpl* const connection = Allocate();
  if (connection == nullptr) return Refuse(std::move(fd));
  core_.engine.counters().accepted.Add(1);
  connection->Open(core_, {.fd = fd.release(),
                           .wire = &wire_,
                           .handler = handler_,
                           .listener = number_,
                           .peer = PeerAddress(peer)});
  if (core_.draining) connection->Drain();
}

void Reception::Refuse(UniqueFd fd) {
  NoteRefused();
  wire_.Close(fd.release());
}

bool Reception::HandlerTakes(int fd, const Address& peer) {
  core_.NoteCalled(*handler_);
  try {
    return handler_->OnAccept(core_.loop, {.listener = number_, .peer = peer, .fd = fd});
  } catch (...) {
    core_.NoteException(fmt::format("listener {}: OnAccept", url_));
  }
  return false;
}

ConnectionImpl* Reception::Allocate() {
  try {
    return core_.table.Allocate();
  } catch (const std::bad_alloc&) {
    log::Error("listener {}: no memory for another connection: refused", url_);
  }
  return nullptr;
}

}  // namespace weir
