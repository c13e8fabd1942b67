// How often this program has asked for heap memory. Linking allocations.cc replaces operator new.

#pragma once

#include <cstddef>

namespace weir::test {

std::size_t Allocations() noexcept;

}  // namespace weir::test
