// A callable that is moved and never copied: std::move_only_function as C++23 has it, for C++20.
//
// OWNER     A UniqueFunction owns its callable. Small ones live inside it: up to 48 bytes, if their
//           move cannot throw. Larger ones take one allocation.
// ERRORS    Calling an empty one throws std::bad_function_call. A callable that throws from its
//           destructor ends the program.

#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace weir {

template <class Signature>
class UniqueFunction;

namespace internal {

template <class F, class R, class... Args>
concept CallableAs = std::invocable < std::decay_t<F>
&, Args... > &&std::is_invocable_r_v<R, std::decay_t<F>&, Args...>&&
                 std::constructible_from<std::decay_t<F>, F>;

}  // namespace internal

template <class R, class... Args>
class UniqueFunction<R(Args...)> {
 public:
  static constexpr std::size_t kInlineBytes = 48;

  // Whether an F costs no allocation.
  template <class F>
  static constexpr bool kFitsInline =
      sizeof(F) <= kInlineBytes &&
      alignof(F) <= alignof(std::max_align_t) && std::is_nothrow_move_constructible_v<F>;

  UniqueFunction() noexcept {}  // not defaulted: storage_ stays as it is
  UniqueFunction(std::nullptr_t) noexcept {}

  // Implicit, so that a lambda goes wherever one is asked for. A null pointer to a function or
  // member makes an empty one. What copying, moving or allocating throws passes on.
  template <class F>
  requires(!std::same_as<std::remove_cvref_t<F>, UniqueFunction>) &&
      internal::CallableAs<F, R, Args...> UniqueFunction(F&& callable) {
    using Callable = std::decay_t<F>;
    if constexpr (std::is_pointer_v<std::remove_cvref_t<F>> || std::is_member_pointer_v<Callable>) {
      if (callable == nullptr) return;
    }
    if constexpr (kFitsInline<Callable>) {
      ::new (static_cast<void*>(storage_)) Callable(std::forward<F>(callable));
      invoke_ = &Inline<Callable>::Invoke;
      manage_ = &Inline<Callable>::Manage;
    } else {
      ::new (static_cast<void*>(storage_)) Callable*(new Callable(std::forward<F>(callable)));
      invoke_ = &OnHeap<Callable>::Invoke;
      manage_ = &OnHeap<Callable>::Manage;
    }
  }

  UniqueFunction(const UniqueFunction&) = delete;
  UniqueFunction& operator=(const UniqueFunction&) = delete;

  // What is moved from is empty.
  UniqueFunction(UniqueFunction&& other) noexcept { Take(other); }
  UniqueFunction& operator=(UniqueFunction&& other) noexcept {
    if (this != &other) {
      Reset();
      Take(other);
    }
    return *this;
  }

  ~UniqueFunction() { Reset(); }

  // REQUIRES: not empty, and not destroyed or assigned to from inside the call.
  R operator()(Args... args) { return invoke_(storage_, std::forward<Args>(args)...); }

  explicit operator bool() const noexcept { return manage_ != nullptr; }

 private:
  using Invoker = R (*)(void* storage, Args&&... args);
  // Destroys the callable in `from`, having moved it to `to` unless that is null.
  using Manager = void (*)(void* from, void* to) noexcept;

  template <class F>
  static R Call(F& callable, Args&&... args) {
    if constexpr (std::is_void_v<R>) {
      static_cast<void>(std::invoke(callable, std::forward<Args>(args)...));
    } else {
      return std::invoke(callable, std::forward<Args>(args)...);
    }
  }

  template <class F>
  struct Inline {
    static F& Get(void* storage) noexcept { return *std::launder(static_cast<F*>(storage)); }
    static R Invoke(void* storage, Args&&... args) {
      return Call(Get(storage), std::forward<Args>(args)...);
    }
    static void Manage(void* from, void* to) noexcept {
      F& callable = Get(from);
      if (to != nullptr) ::new (to) F(std::move(callable));
      std::destroy_at(&callable);
    }
  };

  template <class F>
  struct OnHeap {
    static F* Get(void* storage) noexcept { return *std::launder(static_cast<F**>(storage)); }
    static R Invoke(void* storage, Args&&... args) {
      return Call(*Get(storage), std::forward<Args>(args)...);
    }
    static void Manage(void* from, void* to) noexcept {
      if (to != nullptr) {
        ::new (to) F*(Get(from));
      } else {
        delete Get(from);
      }
    }
  };

  [[noreturn]] static R InvokeEmpty(void*, Args&&...) { throw std::bad_function_call(); }

  // REQUIRES: this one is empty.
  void Take(UniqueFunction& other) noexcept {
    if (other.manage_ == nullptr) return;
    other.manage_(other.storage_, storage_);
    invoke_ = std::exchange(other.invoke_, &InvokeEmpty);
    manage_ = std::exchange(other.manage_, nullptr);
  }

  // Empty first, destroyed after: the callable's destructor may look at this object.
  void Reset() noexcept {
    invoke_ = &InvokeEmpty;
    if (const Manager manage = std::exchange(manage_, nullptr)) manage(storage_, nullptr);
  }

  alignas(std::max_align_t) std::byte storage_[kInlineBytes];
  Invoker invoke_ = &InvokeEmpty;
  Manager manage_ = nullptr;
};

using Work = UniqueFunction<void()>;
static_assert(sizeof(void*) != 8 || sizeof(Work) == 64, "one cache line");

}  // namespace weir
