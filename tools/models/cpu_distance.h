// How far apart two processors are: what a message from one to the other and back costs.
//
// A request over loopback crosses from one to the other, and that is most of what it costs. The
// CPUs of a virtual machine move: now they share a cache, now they are on two sockets, and the same
// server takes three times as long. So every measurement says how far apart they were.

#pragma once

#include <chrono>

namespace models {

// Takes a millisecond at most, in which nothing else should run on the two. Leaves the calling
// thread where it is allowed to be: it has to be on `here`.
[[nodiscard]] std::chrono::duration<double, std::nano> CpuDistance(int here, int there);

}  // namespace models
