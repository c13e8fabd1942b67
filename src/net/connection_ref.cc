// A handle on a connection: all that it asks for is a posted task, which finds the connection by
// its token, or nobody.

#include "weir/connection_ref.h"

#include "base/check.h"
#include "net/connection_impl.h"
#include "net/loop_core.h"
#include "weir/event_loop.h"

namespace weir {

ConnRef ConnectionImpl::Ref() const noexcept { return {*loop_, token.Packed()}; }

Connection* ConnRef::Get() const noexcept {
  if (loop_ == nullptr) return nullptr;
  ConnectionImpl* const connection = loop_->table.Find(Token::Unpack(id_));
  return connection != nullptr && connection->state() == State::kOpen ? connection : nullptr;
}

bool ConnRef::Enqueue(Work work) const {
  return loop_ != nullptr && loop_->loop.Post(std::move(work));
}

bool ConnRef::Send(std::string bytes) const {
  return Enqueue([ref = *this, bytes = std::move(bytes)]() mutable {
    if (Connection* const connection = ref.Get()) connection->WriteOwned(std::move(bytes));
  });
}

bool ConnRef::Send(std::shared_ptr<const std::string> bytes) const {
  Check(bytes != nullptr, "Send() is given a string");
  return Enqueue([ref = *this, bytes = std::move(bytes)]() mutable {
    if (Connection* const connection = ref.Get()) connection->WriteShared(std::move(bytes));
  });
}

bool ConnRef::Wake() const {
  return Post([](Connection& connection) { static_cast<ConnectionImpl&>(connection).Wake(); });
}

bool ConnRef::Close() const {
  return Post([](Connection& connection) { connection.Close(); });
}

bool ConnRef::Abort() const {
  return Post([](Connection& connection) { connection.Abort(); });
}

}  // namespace weir
