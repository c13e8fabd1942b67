// The public Connection: a class without data, each call of which is the implementation's.

#include "net/connection_impl.h"
#include "net/loop_core.h"
#include "os/socket_name.h"

namespace weir {
namespace {

ConnectionImpl& Impl(Connection& connection) noexcept {
  return static_cast<ConnectionImpl&>(connection);
}
const ConnectionImpl& Impl(const Connection& connection) noexcept {
  return static_cast<const ConnectionImpl&>(connection);
}
const ConnectionCold& Cold(const Connection& connection) noexcept {
  return Impl(connection).loop().Cold(Impl(connection));
}

}  // namespace

bool Connection::Write(std::string_view bytes) { return Impl(*this).Write(bytes); }
void Connection::FlushNow() { Impl(*this).FlushNow(); }
std::size_t Connection::Pending() const noexcept { return Impl(*this).Pending(); }

std::string_view Connection::Input() const noexcept { return Impl(*this).Input(); }
void Connection::Consume(std::size_t count) { Impl(*this).Consume(count); }
void Connection::PauseRead() noexcept { Impl(*this).PauseRead(); }
void Connection::ResumeRead() { Impl(*this).ResumeRead(); }

void Connection::Close() { Impl(*this).CloseLocally(); }
void Connection::Abort() { Impl(*this).Abort(CloseReason::kLocal); }
void Connection::ShutdownWrite() { Impl(*this).ShutdownWrite(); }

bool Connection::IsOpen() const noexcept { return Impl(*this).state() == State::kOpen; }
int Connection::Fd() const noexcept { return Impl(*this).fd(); }
int Connection::Listener() const noexcept { return Cold(*this).listener; }
ConnRef Connection::Ref() const noexcept { return Impl(*this).Ref(); }
EventLoop& Connection::Loop() const noexcept { return Impl(*this).loop().loop; }
std::uint64_t Connection::BytesIn() const noexcept { return Cold(*this).bytes_in; }
std::uint64_t Connection::BytesOut() const noexcept { return Cold(*this).bytes_out; }

Address Connection::Local() const { return LocalAddressOf(Fd()); }

Address Connection::Peer() const {
  if (!Impl(*this).wire().traits().peer_is_remembered) return PeerAddressOf(Fd());
  return Cold(*this).peer.Expand();
}

}  // namespace weir
