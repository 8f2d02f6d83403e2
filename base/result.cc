#include "base/result.h"

#include <cstring>

namespace fairlead::base {

Error Error::from_errno(std::string_view what, int errno_value) {
  std::string message(what);
  // Its text is the thread's own in glibc since 2.32, and constant in musl. Of strerror_r there are two kinds.
  message.append(": ").append(std::strerror(errno_value));
  return Error(std::move(message), errno_value);
}

}  // namespace fairlead::base
