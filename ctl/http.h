// http: one GET over a unix socket. curl stays inside http.cc.
#pragma once

#include <string>

#include "base/result.h"

namespace fairlead::ctl {

// The body of an answer with code 200. The Error names the socket.
Result<std::string> get(const std::string& socket, const std::string& path);

}  // namespace fairlead::ctl
