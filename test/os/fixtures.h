// What the tests of this floor share: a folder for socket files, plain clients, and error texts.

#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "os/address_family.h"
#include "os/sys.h"
#include "os/unique_fd.h"
#include "support/catch.h"
#include "weir/address.h"
#include "weir/error.h"

namespace weir::test {

// The text of the weir::Error that `action` throws; "" if it throws none.
template <class Action>
std::string ErrorOf(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-XXXXXX").string();
    if (::mkdtemp(name.data()) != nullptr) path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] std::string File(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A client as anybody could write it: it blocks. No fd if it was refused.
inline UniqueFd ConnectTo(const Address& address) {
  UniqueFd fd(::socket(FamilyOf(address), SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto size = static_cast<socklen_t>(address.RawSize());
  if (sys::Connect(fd.get(), address.Raw(), size) < 0) fd.reset();
  return fd;
}

struct Accepted {
  UniqueFd fd;
  Address peer;
};

inline Accepted AcceptFrom(int listener) {
  pollfd wanted{listener, POLLIN, 0};
  REQUIRE(::poll(&wanted, 1, 5000) == 1);
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  UniqueFd fd(sys::Accept(listener, &address, &size));
  REQUIRE(fd);
  return {std::move(fd), Address::FromRaw(&address, size)};
}

inline int OptionOf(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  REQUIRE(sys::GetOption(fd, level, name, &value, &size) == 0);
  return value;
}

inline bool HasIp6() {
  const Address any = Address::Parse("[::1]:0");
  const UniqueFd fd(kernel::Socket(AF_INET6, SOCK_STREAM, 0));
  return fd && kernel::Bind(fd.get(), any.Raw(), static_cast<socklen_t>(any.RawSize())) == 0;
}

}  // namespace weir::test
