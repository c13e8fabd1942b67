#include "models/cpu_distance.h"

#include <sched.h>

#include <atomic>
#include <thread>

namespace models {
namespace {

constexpr int kWarmUp = 100;
constexpr int kTrips = 1000;

void StayOn(int cpu) {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(static_cast<std::size_t>(cpu), &only);
  ::sched_setaffinity(0, sizeof(only), &only);
}

// A number is thrown from one to the other: odd there, even back.
void AnswerAll(std::atomic<int>& ball) {
  for (int trip = 0; trip < kWarmUp + kTrips; ++trip) {
    while (ball.load(std::memory_order_acquire) != 2 * trip + 1) continue;
    ball.store(2 * trip + 2, std::memory_order_release);
  }
}

}  // namespace

std::chrono::duration<double, std::nano> CpuDistance(int here, int there) {
  alignas(64) std::atomic<int> ball = 0;
  StayOn(here);
  std::thread other([&] {
    StayOn(there);
    AnswerAll(ball);
  });
  auto began = std::chrono::steady_clock::now();
  for (int trip = 0; trip < kWarmUp + kTrips; ++trip) {
    if (trip == kWarmUp) began = std::chrono::steady_clock::now();
    ball.store(2 * trip + 1, std::memory_order_release);
    while (ball.load(std::memory_order_acquire) != 2 * trip + 2) continue;
  }
  const auto elapsed = std::chrono::steady_clock::now() - began;
  other.join();
  return std::chrono::duration<double, std::nano>(elapsed) / kTrips;
}

}  // namespace models
