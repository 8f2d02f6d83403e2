// api_server: fairlead-demo as a process of its own that is the test API server and takes changes on its stdin.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace fairlead::demo {

inline constexpr const char* kApiServerCommand = "api-server";

// LISTEN KUBECONFIG. Each line of stdin is a JSON string with manifests; each is answered by "done VERSION" or
// "error TEXT". Serves on after the end of its input, until it is killed.
Status run_api_server(const std::vector<std::string>& arguments);

}  // namespace fairlead::demo
