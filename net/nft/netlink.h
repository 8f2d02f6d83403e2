// The kernel of the calling thread's network namespace, over two nfnetlink sockets: one for requests, one that hears
// of other people's changes. A commit is one sendmsg; the kernel has finished when it returns.
#pragma once

#include <memory>

#include "net/nft/kernel.h"

namespace fairlead::net::nft {

Result<std::unique_ptr<Kernel>> open_netlink();

}  // namespace fairlead::net::nft
