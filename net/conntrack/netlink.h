// The kernel's connection tracking over nfnetlink (ctnetlink). libmnl stays in this folder.
#pragma once

#include <memory>

#include "net/conntrack/kernel.h"

namespace fairlead::net::conntrack {

// For the calling thread's network namespace, wherever it is used afterwards. Needs CAP_NET_ADMIN.
Result<std::unique_ptr<Kernel>> open_netlink();

}  // namespace fairlead::net::conntrack
