// routed: a veth to the host without a subnet, as Calico and Cilium have it. The container has a /32 and a /128 and
// sends everything to one gateway, the host's end, whose MAC it knows; the host has a route to each container. No ARP,
// no neighbour discovery, no bridge, nothing to answer for anybody.
//
// It is the mode "routed" of the `fairlead` plugin (fairlead.cc).
#pragma once

#include "cni-plugin/plugin.h"

namespace fairlead::cni {

extern const Plugin kRouted;

}  // namespace fairlead::cni
