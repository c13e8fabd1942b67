// A thread of the simulated program: a stack of its own, on the one real thread (ucontext(3)).
//
// OWNER     The scheduler.
// THREADS   One. Enter() is called by the scheduler, Leave() inside the fiber.
// ERRORS    The work must not throw: as in a thread, that ends the process.

#pragma once

#include <ucontext.h>

#include <array>
#include <cstddef>
#include <memory>

#include "weir/function.h"

namespace weir::sim {

class Fiber {
 public:
  explicit Fiber(Work work);
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  // Goes on with it, until it leaves or has ended.
  void Enter();
  // Back to whoever entered.
  void Leave();

  [[nodiscard]] bool IsDone() const noexcept { return done_; }

  void* slot = nullptr;  // sys::ThreadSlot()

 private:
  static constexpr std::size_t kStackSize = 256 << 10;
  struct Stack;

  // What the C++ runtime keeps for each thread about exceptions that are being handled
  // (__cxa_get_globals, Itanium C++ ABI): here for each fiber.
  struct Exceptions {
    void* caught;
    unsigned int uncaught;
  };

  static void Start(unsigned int high, unsigned int low);
  void Run();
  void SwapExceptions() noexcept;

  Work work_;
  std::unique_ptr<Stack> stack_;
  ucontext_t inside_{};
  ucontext_t outside_{};
  Exceptions exceptions_{};
  bool done_ = false;

  // What AddressSanitizer has to know of a change of stacks.
  void* fake_stack_ = nullptr;
  const void* outer_stack_ = nullptr;
  std::size_t outer_size_ = 0;
};

}  // namespace weir::sim
