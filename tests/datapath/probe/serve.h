// The server side: any number of TCP, UDP and SCTP listeners in one epoll loop, until killed.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/datapath/probe_spec.h"

namespace fairlead::testbed::probe {

// Answers "who\n", "take N\n" + N bytes (the payload of sockets.h: "intact" or "corrupt") and "give N\n". `ready` runs
// once all listen. Returns only with an Error.
Error serve(const std::string& name, const std::vector<Target>& listeners, const std::function<void()>& ready);

}  // namespace fairlead::testbed::probe
