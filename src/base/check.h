// Check: what must be true unless weir itself, or the program that calls it, is wrong.
//
// It is on in release builds too. Never use it for what a peer or the kernel may do: those are
// outcomes, not bugs.

#pragma once

namespace weir {

[[noreturn]] void CheckFailed(const char* what_must_hold) noexcept;  // logs, then aborts

inline void Check(bool holds, const char* what_must_hold) noexcept {
  if (!holds) [[unlikely]]
    CheckFailed(what_must_hold);
}

}  // namespace weir
