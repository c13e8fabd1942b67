// The client of a traced server, a process of its own: one connection that asks, and stops itself
// (SIGSTOP) before each request and after the last. Whoever traces lets it go on when the server
// rests: so each request finds it at rest, however slow the tracing makes it.

#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>

namespace models {

// For the client's process: asks `url` until there is one, then the server, so often. Does not
// return.
[[noreturn]] void BeTraceClient(const std::function<std::optional<std::string>()>& url,
                                std::size_t requests);

// What is wrong when it has ended with that exit code.
[[nodiscard]] const char* WhyTraceClientEnded(int exit_code);

}  // namespace models
