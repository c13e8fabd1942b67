// The context of a connection: one object of the program's, typed.
//
//   memory from the pool:   | type | padding to the object's alignment | the object |
//   ConnectionCold::context ------------------------------------------^
//
// The type stands right before the object, so that the connection needs one pointer for both.

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "net/loop_core.h"

namespace weir {
namespace {

constexpr std::size_t HeaderSize(std::size_t alignment) noexcept {
  return std::max(alignment, sizeof(void*));
}

}  // namespace

void* ConnectionImpl::NewContextRoom(const ContextType& type) {
  const std::size_t header = HeaderSize(type.alignment);
  void* const memory = loop_->contexts.Allocate(header + type.size, header);
  return static_cast<char*>(memory) + header;
}

void ConnectionImpl::FreeContextRoom(const ContextType& type, void* context) noexcept {
  const std::size_t header = HeaderSize(type.alignment);
  loop_->contexts.Free(static_cast<char*>(context) - header, header + type.size, header);
}

void ConnectionImpl::SetContext(const ContextType& type, void* context) noexcept {
  const ContextType* const address = &type;
  std::memcpy(static_cast<char*>(context) - sizeof address, &address, sizeof address);
  Cold().context = context;
}

const Connection::ContextType* ConnectionImpl::TypeOfContext(const void* context) noexcept {
  const ContextType* type = nullptr;
  std::memcpy(&type, static_cast<const char*>(context) - sizeof type, sizeof type);
  return type;
}

void ConnectionImpl::DestroyContext() noexcept {
  void* const context = std::exchange(Cold().context, nullptr);
  if (context == nullptr) return;
  const ContextType& type = *TypeOfContext(context);
  type.destroy(context);
  FreeContextRoom(type, context);
}

void* ConnectionImpl::FindContext(const ContextType& type) const noexcept {
  void* const context = Cold().context;
  return context != nullptr && TypeOfContext(context) == &type ? context : nullptr;
}

// ---- What the templates of connection.h call

Connection::Room Connection::PrepareContext(const ContextType& type) {
  auto& self = static_cast<ConnectionImpl&>(*this);
  self.DestroyContext();
  return {*this, type, self.NewContextRoom(type)};
}

void Connection::DropContextRoom(const ContextType& type, void* memory) noexcept {
  static_cast<ConnectionImpl&>(*this).FreeContextRoom(type, memory);
}

void Connection::KeepContext(const ContextType& type, void* memory) noexcept {
  static_cast<ConnectionImpl&>(*this).SetContext(type, memory);
}

void* Connection::FindContext(const ContextType& type) const noexcept {
  return static_cast<const ConnectionImpl&>(*this).FindContext(type);
}

void* Connection::RequireContext(const ContextType& type) const noexcept {
  void* const context = FindContext(type);
  Check(context != nullptr, "Get<T>(): the connection's context is a T (TryGet<T>() asks)");
  return context;
}

}  // namespace weir
