// What calls say, in words: for transcripts.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::sim::conformance {

// "EAGAIN".
[[nodiscard]] std::string ErrnoName(int error);

// A count, or -errno by its name.
[[nodiscard]] std::string ResultText(long result);

// "IN|RDHUP"; "0" for none. In the order of their value, but that the high bits come last.
[[nodiscard]] std::string EventNames(std::uint32_t events);

// 'abc'; long ones are cut: 'aaaa...' (5000).
[[nodiscard]] std::string Quoted(std::string_view bytes);

}  // namespace weir::sim::conformance
