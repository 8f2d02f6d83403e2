// VLANs of the bridge plugin: what the container's port carries, and the host's own leg in a VLAN.
#pragma once

#include "cni-plugin/bridge_config.h"
#include "net/rtnl.h"

namespace fairlead::cni {

// For a port that has just joined `bridge` and carries what every port does.
std::vector<net::NetlinkMessage> port_vlan_messages(std::uint32_t port, const net::BridgeSettings& bridge,
                                                    const BridgeConfig& config);

// "<bridge>.<vlan>", which holds the gateway's addresses in that VLAN: an end of a veth whose other end is a port of
// the bridge. Made where it is missing; like the bridge it stays.
Result<net::LinkInfo> ensure_vlan_gateway(net::Rtnl& host, const net::LinkInfo& bridge, const BridgeConfig& config);

}  // namespace fairlead::cni
