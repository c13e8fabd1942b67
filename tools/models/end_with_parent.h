// A child that ends when its parent does, however that comes about: Ctrl-C, a crash, kill -9.

#pragma once

#include <sys/types.h>

namespace models {

// For the child, before all else. `parent`: what getpid(2) said before fork(2). Holds after exec.
void EndWithParent(pid_t parent) noexcept;

}  // namespace models
