#include "models/cpu_distance.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include "models/cpus.h"

namespace models {
namespace {

// The median of some series: one may be interrupted.
constexpr int kSeries = 9;
constexpr int kTrips = 100;

// A number is thrown from one to the other: odd there, even back.
void AnswerAll(std::atomic<int>& ball) {
  for (int trip = 0; trip < kSeries * kTrips; ++trip) {
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
  std::array<std::chrono::duration<double, std::nano>, kSeries> series{};
  int trip = 0;
  for (auto& elapsed : series) {
    const auto began = std::chrono::steady_clock::now();
    for (const int end = trip + kTrips; trip < end; ++trip) {
      ball.store(2 * trip + 1, std::memory_order_release);
      while (ball.load(std::memory_order_acquire) != 2 * trip + 2) continue;
    }
    elapsed = std::chrono::steady_clock::now() - began;
  }
  other.join();
  std::ranges::sort(series);
  return series[kSeries / 2] / kTrips;
}

}  // namespace models
