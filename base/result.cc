#include "base/result.h"

#include <cstring>

namespace fairlead::base {

Error Error::from_errno(std::string_view what, int errno_value) {
  char buffer[128];
  const char* text = strerror_r(errno_value, buffer, sizeof buffer);
  std::string message(what);
  message.append(": ").append(text);
  return Error(std::move(message), errno_value);
}

}  // namespace fairlead::base
