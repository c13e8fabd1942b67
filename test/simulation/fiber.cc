#include "simulation/fiber.h"

#include <cxxabi.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define WEIR_SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEIR_SIM_ASAN 1
#endif
#endif
#if defined(WEIR_SIM_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

namespace weir::sim {
namespace {

// Announces that the stack is about to become another one. `save`: null if this one is never
// returned to.
void BeginSwitch([[maybe_unused]] void** save, [[maybe_unused]] const void* bottom,
                 [[maybe_unused]] std::size_t size) noexcept {
#if defined(WEIR_SIM_ASAN)
  __sanitizer_start_switch_fiber(save, bottom, size);
#endif
}

void EndSwitch([[maybe_unused]] void* saved, [[maybe_unused]] const void** old_bottom,
               [[maybe_unused]] std::size_t* old_size) noexcept {
#if defined(WEIR_SIM_ASAN)
  __sanitizer_finish_switch_fiber(saved, old_bottom, old_size);
#endif
}

}  // namespace

// Mapped with a page below it that nobody may touch, and kept for the next fiber.
struct Fiber::Stack {
  static constexpr std::size_t kGuard = 4096;

  Stack()
      : memory(::mmap(nullptr, kStackSize + kGuard, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0)) {
    if (memory == MAP_FAILED) throw std::bad_alloc();
    ::mprotect(memory, kGuard, PROT_NONE);
  }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  ~Stack() { ::munmap(memory, kStackSize + kGuard); }

  [[nodiscard]] char* Bottom() const noexcept { return static_cast<char*>(memory) + kGuard; }

  static std::vector<std::unique_ptr<Stack>>& Spare() {
    static std::vector<std::unique_ptr<Stack>> spare;
    return spare;
  }
  static std::unique_ptr<Stack> Take() {
    if (Spare().empty()) return std::make_unique<Stack>();
    std::unique_ptr<Stack> stack = std::move(Spare().back());
    Spare().pop_back();
    return stack;
  }

  void* memory;
};

Fiber::Fiber(Work work) : work_(std::move(work)), stack_(Stack::Take()) {
  ::getcontext(&inside_);
  inside_.uc_stack.ss_sp = stack_->Bottom();
  inside_.uc_stack.ss_size = kStackSize;
  inside_.uc_link = nullptr;  // Run() never returns
  const auto self = reinterpret_cast<std::uintptr_t>(this);
  // makecontext hands over ints.
  ::makecontext(&inside_, reinterpret_cast<void (*)()>(&Fiber::Start), 2,
                static_cast<unsigned int>(self >> 32), static_cast<unsigned int>(self));
}

Fiber::~Fiber() { Stack::Spare().push_back(std::move(stack_)); }

void Fiber::Start(unsigned int high, unsigned int low) {
  const std::uintptr_t self = (static_cast<std::uintptr_t>(high) << 32) | low;
  reinterpret_cast<Fiber*>(self)->Run();
}

void Fiber::Run() {
  EndSwitch(nullptr, &outer_stack_, &outer_size_);
  work_();
  work_ = nullptr;
  done_ = true;
  SwapExceptions();
  BeginSwitch(nullptr, outer_stack_, outer_size_);
  ::setcontext(&outside_);
}

void Fiber::Enter() {
  void* saved = nullptr;
  SwapExceptions();
  BeginSwitch(&saved, stack_->Bottom(), kStackSize);
  ::swapcontext(&outside_, &inside_);
  EndSwitch(saved, nullptr, nullptr);
}

void Fiber::Leave() {
  SwapExceptions();
  BeginSwitch(&fake_stack_, outer_stack_, outer_size_);
  ::swapcontext(&inside_, &outside_);
  EndSwitch(fake_stack_, &outer_stack_, &outer_size_);
}

void Fiber::SwapExceptions() noexcept {
  Exceptions* const current = reinterpret_cast<Exceptions*>(abi::__cxa_get_globals());
  std::swap(*current, exceptions_);
}

}  // namespace weir::sim
