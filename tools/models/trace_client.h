// The client of a traced server, a process of its own: one connection that asks, and waits for each
// echo before it asks again.

#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>

namespace models {

inline constexpr std::size_t kTracedRequests = 100;

// For the client's process: asks `url` until there is one, warms the server up, and stops itself
// (SIGSTOP) where counting begins and where it ends. Does not return.
[[noreturn]] void BeTraceClient(const std::function<std::optional<std::string>()>& url);

// What is wrong when it has ended with that exit code.
[[nodiscard]] const char* WhyTraceClientEnded(int exit_code);

}  // namespace models
