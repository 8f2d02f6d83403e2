// node_plan: what the programs must know of the node itself: its addresses and which of them take NodePorts, its bridge
// ports, the address it masquerades with, who is a pod and where ClusterIPs come from. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "net/links.h"
#include "proxy/dataplane/ebpf/layout.h"
#include "proxy/model/node.h"

namespace fairlead::proxy::dataplane::ebpf {

// Interfaces that get the tc programs: those with Ethernet frames, save loopback, and save ports of a bond or team,
// whose packets are seen on the master.
std::vector<net::Link> attachable(const net::Links& links);

// The address of `family` to masquerade with: the one the default route uses, else the first global one of any
// interface; "::" when there is none.
net::Ip masquerade_address(const net::Links& links, net::Family family, const std::optional<net::Ip>& default_source);

using Networks = std::map<bpf::network_key, std::uint32_t>;  // -> bpf::NETWORK_*

struct NodeRows {
  std::map<bpf::addr16, std::uint32_t> addresses;         // -> bpf::ADDRESS_*
  std::map<std::uint32_t, std::uint32_t> bridge_ports;    // ifindex -> master
  std::map<std::uint32_t, std::uint32_t> pod_interfaces;  // ifindex -> 0
  Networks networks;
  bpf::node_config config{};
};

// What the system is asked for beside its links.
struct NodeFacts {
  std::optional<net::Ip> default_source_v4;
  std::optional<net::Ip> default_source_v6;
  std::uint64_t netns_cookie = 0;  // 0: unknown
};

// An interface counts for pods by its own name or by that of the bridge it is a port of: packets are met on the port.
NodeRows plan_node(const model::NodeState& node, const net::Links& links, const NodeFacts& facts);
Networks plan_networks(const model::NodeState& node);
std::uint32_t plan_node_flags(const model::NodeState& node);  // bpf::NODE_*

// What stands while the services change from one NodeState to another: whoever is a pod before or after counts as one,
// since rows that mind it are written in between; only where ClusterIPs come from before and after, strangers' packets
// are dropped, since services may not have been written yet.
NodeRows between(const NodeRows& have, const NodeRows& want);

}  // namespace fairlead::proxy::dataplane::ebpf
