#include "weir/error.h"

namespace weir {

Error Error::Usage(const std::string& call_and_value, const std::string& reason) {
  return {std::make_error_code(std::errc::invalid_argument), call_and_value + ": " + reason};
}

Error Error::System(const std::string& call_and_value, int error_number) {
  const std::error_code code(error_number, std::system_category());
  return {code, call_and_value + ": " + code.message()};
}

}  // namespace weir
