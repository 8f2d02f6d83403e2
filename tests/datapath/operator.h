// What an operator may have configured, as the scenarios name it; the same for both drivers.
#pragma once

#include <string>
#include <vector>

#include "proxy/model/node.h"

namespace fairlead::testbed {

enum class Operator : std::uint8_t {
  Usual,  // detectLocalMode ClusterCIDR with the cluster's CIDRs
  NoDetector,
  MasqueradeAll,
  MasqueradeAllNoDetector,
  NodeCidr,         // the detector takes the Node's podCIDRs
  BridgeInterface,  // traffic from the interface of pod1a is local
  InterfacePrefix,  // and here from every "veth..."
  NodePortsOnPrimary,
  NodePortsInRanges,        // on the underlay's addresses
  NodePortsOnSecond,        // on the nodes' second addresses; IPv4 and IPv6
  NodePortsOnSecondOfIpv4,  // on those of IPv4; nothing is said of IPv6
  NoLocalhostNodePorts,
};
std::string_view to_string(Operator setup);

proxy::model::Config config_of(Operator setup);
// The command line that says so, by kube-proxy's names of the flags.
std::vector<std::string> flags_of(Operator setup);

}  // namespace fairlead::testbed
