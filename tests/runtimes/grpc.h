// grpc: one unary call over a unix socket: an HTTP/2 POST whose body is one length-prefixed message
// (grpc/doc/PROTOCOL-HTTP2.md).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace fairlead::tests::runtimes {

// `method`: "runtime.v1.RuntimeService/Status". The message of the answer, or an Error with what the server said.
Result<std::string> grpc_call(const std::string& socket, std::string_view method, std::string_view message);

}  // namespace fairlead::tests::runtimes
