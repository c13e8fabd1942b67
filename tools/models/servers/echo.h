// The second phase: copying. It is the same in all models whose sockets do not block; they differ
// in the first, how they learn that there is something to copy.

#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "models/servers/server.h"

namespace models {

enum class Copied : std::uint8_t {
  kNothing,  // not one byte: recv, or send, would have had to wait
  kSome,     // and there may be no more of it
  kFull,     // as many as a read may bring: there is probably more
  kEnd,      // the client has nothing more to say, or is gone: destroy it
};

// A client, and what was read of him and not sent yet.
//
// OWNER     It owns the descriptor, and closes it.
// THREADS   One at a time.
class Client {
 public:
  explicit Client(int fd) noexcept : fd_(fd) {}  // of a socket that does not block
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();

  [[nodiscard]] int Descriptor() const noexcept { return fd_; }

  // What has to be waited for: that the kernel takes more output, or else that there is input.
  [[nodiscard]] bool WaitsToSend() const noexcept { return !unsent_.empty(); }

  // Copies what can be copied without waiting: what is unsent, and then, if that is gone, what one
  // read brings, which is sent at once. `buffer` is scratch: between two calls it may be used for
  // others.
  [[nodiscard]] Copied CopyOnce(std::span<char, kReadSize> buffer);

 private:
  int fd_;
  std::string unsent_;  // at most what one read brought; an idle client owns no memory
};

}  // namespace models
