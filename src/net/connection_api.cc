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
  return Impl(connection).Cold();
}

}  // namespace

bool Connection::Write(std::string_view bytes) { return Impl(*this).Write(bytes); }
bool Connection::Writev(std::span<const std::string_view> pieces) {
  return Impl(*this).Writev(pieces);
}
bool Connection::WriteOwned(std::string bytes) { return Impl(*this).WriteOwned(std::move(bytes)); }
bool Connection::WriteShared(std::shared_ptr<const std::string> bytes) {
  return Impl(*this).WriteShared(std::move(bytes));
}
std::span<char> Connection::Reserve(std::size_t count) { return Impl(*this).Reserve(count); }
void Connection::Commit(std::size_t count) { Impl(*this).Commit(count); }
void Connection::SetFlush(Flush flush) { Impl(*this).SetFlush(flush); }
void Connection::FlushNow() { Impl(*this).FlushNow(); }
std::size_t Connection::Pending() const noexcept { return Impl(*this).Pending(); }
bool Connection::Congested() const noexcept { return Impl(*this).Congested(); }
void Connection::SetWatermarks(std::size_t high, std::size_t low) {
  Impl(*this).SetWatermarks(high, low);
}

std::string_view Connection::Input() const noexcept { return Impl(*this).Input(); }
std::size_t Connection::Scanned() const noexcept { return Impl(*this).Scanned(); }
void Connection::NeedAtLeast(std::size_t count) { Impl(*this).NeedAtLeast(count); }
void Connection::Consume(std::size_t count) { Impl(*this).Consume(count); }
void Connection::PauseRead() noexcept { Impl(*this).PauseRead(); }
void Connection::ResumeRead() { Impl(*this).ResumeRead(); }

void Connection::Close() { Impl(*this).CloseLocally(); }
void Connection::Abort() { Impl(*this).AbortLocally(); }
void Connection::ShutdownWrite() { Impl(*this).ShutdownWrite(); }

void Connection::SetIdleTimeout(Duration timeout) { Impl(*this).SetIdleTimeout(timeout); }
void Connection::SetReadDeadline(Clock::time_point deadline) {
  Impl(*this).SetReadDeadline(deadline);
}
void Connection::SetWriteDeadline(Clock::time_point deadline) {
  Impl(*this).SetWriteDeadline(deadline);
}

void Connection::SetHandler(Handler& handler) { Impl(*this).SetHandler(handler); }

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
