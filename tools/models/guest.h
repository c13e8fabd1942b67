// A server that is none of the models (--also): any program that echoes. A shell starts it, and it
// says on stdout where it listens.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "models/catalogue.h"
#include "models/words.h"

namespace models {

// The Model of `--also NAME=COMMAND`. It points into the text. Throws echo_load::UsageError.
[[nodiscard]] Model ParseGuest(std::string_view text);

// For the server's process: becomes what `sh -c 'exec COMMAND'` starts. Does not return.
[[noreturn]] void BecomeGuest(const Model& guest, const Words& printed);

// Where it listens, once it has said so: "listening on tcp://HOST:PORT".
[[nodiscard]] std::optional<std::string> GuestUrl(const Words& printed);
inline constexpr const char* kNoGuestUrl =
    "the server does not say 'listening on tcp://HOST:PORT' on its stdout";

}  // namespace models
