#include "proxy/dataplane/ebpf/node_plan.h"

#include <algorithm>
#include <string>

namespace fairlead::proxy::dataplane::ebpf {
namespace {

bool lies_in(const net::Ip& address, const std::vector<net::Prefix>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const net::Prefix& p) { return p.contains(address); });
}

bpf::network_key to_key(const net::Prefix& prefix) {
  return {.prefixlen = mapped_length(prefix), .addr = to_addr16(prefix.address)};
}

bool encloses(const bpf::network_key& outer, const bpf::network_key& inner) {
  return outer.prefixlen <= inner.prefixlen && to_prefix(outer.addr, outer.prefixlen).contains(to_ip(inner.addr));
}

// What a look-up of an address in `key` finds: the longest range around it.
std::uint32_t look_up(const Networks& networks, const bpf::network_key& key) {
  const Networks::value_type* best = nullptr;
  for (const auto& row : networks) {
    if (encloses(row.first, key) && (best == nullptr || row.first.prefixlen > best->first.prefixlen)) best = &row;
  }
  return best != nullptr ? best->second : 0;
}

bool is_pod_interface(const model::LocalTraffic& pods, const std::string& name) {
  if (pods.interface.empty() || name.empty()) return false;
  return pods.interface_is_prefix ? name.compare(0, pods.interface.size(), pods.interface) == 0
                                  : name == pods.interface;
}

}  // namespace

std::vector<net::Link> attachable(const net::Links& links) {
  std::vector<net::Link> out;
  for (const net::Link& link : links.links) {
    if (link.loopback || !link.ethernet || link.master_kind == "bond" || link.master_kind == "team") continue;
    out.push_back(link);
  }
  return out;
}

net::Ip masquerade_address(const net::Links& links, net::Family family, const std::optional<net::Ip>& default_source) {
  const auto fits = [&](const net::LocalAddress& a) {
    return a.global && a.address.family() == family && !a.address.is_loopback();
  };
  const auto preferred = std::find_if(links.addresses.begin(), links.addresses.end(), [&](const net::LocalAddress& a) {
    return fits(a) && default_source && a.address == *default_source;
  });
  if (preferred != links.addresses.end()) return preferred->address;
  const auto any = std::find_if(links.addresses.begin(), links.addresses.end(), fits);
  return any != links.addresses.end() ? any->address : net::Ip();
}

// A look-up finds the longest range alone, so each says what those around it say.
Networks plan_networks(const model::NodeState& node) {
  Networks own;
  for (const net::Prefix& prefix : node.pods.sources) own[to_key(prefix)] |= bpf::NETWORK_PODS;
  for (const net::Prefix& prefix : node.service_cidrs) own[to_key(prefix)] |= bpf::NETWORK_SERVICES;
  Networks out = own;
  for (auto& [inner, flags] : out) {
    for (const auto& [outer, more] : own) {
      if (encloses(outer, inner)) flags |= more;
    }
  }
  return out;
}

std::uint32_t plan_node_flags(const model::NodeState& node) {
  std::uint32_t flags = 0;
  if (node.pods.known(net::Family::V4)) flags |= bpf::NODE_TELLS_PODS_V4;
  if (node.pods.known(net::Family::V6)) flags |= bpf::NODE_TELLS_PODS_V6;
  if (node.localhost_node_ports) flags |= bpf::NODE_LOOPBACK_NODE_PORTS;
  return flags;
}

NodeRows plan_node(const model::NodeState& node, const net::Links& links, const NodeFacts& facts) {
  NodeRows rows;
  for (const net::LocalAddress& a : links.addresses) {
    if (a.address.is_loopback()) continue;
    std::uint32_t& flags = rows.addresses[to_addr16(a.address)];
    if (lies_in(a.address, node.node_port_addresses)) flags |= bpf::ADDRESS_NODE_PORTS;
  }
  std::map<std::uint32_t, std::string> bridges;
  for (const net::Link& link : links.links) bridges.emplace(link.index, link.name);
  for (const net::Link& link : links.links) {
    const bool port = link.master_kind == "bridge";
    if (port) rows.bridge_ports.emplace(link.index, link.master);
    if (is_pod_interface(node.pods, link.name) || (port && is_pod_interface(node.pods, bridges[link.master]))) {
      rows.pod_interfaces.emplace(link.index, 0U);
    }
  }
  rows.networks = plan_networks(node);
  rows.config = {
      .masquerade_v4 = to_addr16(masquerade_address(links, net::Family::V4, facts.default_source_v4)),
      .masquerade_v6 = to_addr16(masquerade_address(links, net::Family::V6, facts.default_source_v6)),
      .netns_cookie = facts.netns_cookie,
      .flags = plan_node_flags(node),
      .pad = 0,
  };
  return rows;
}

NodeRows between(const NodeRows& have, const NodeRows& want) {
  NodeRows out = want;
  out.pod_interfaces.insert(have.pod_interfaces.begin(), have.pod_interfaces.end());
  out.networks.insert(have.networks.begin(), have.networks.end());
  for (auto& [key, flags] : out.networks) {
    const std::uint32_t before = look_up(have.networks, key);
    const std::uint32_t after = look_up(want.networks, key);
    flags = ((before | after) & bpf::NETWORK_PODS) | (before & after & bpf::NETWORK_SERVICES);
  }
  return out;
}

}  // namespace fairlead::proxy::dataplane::ebpf
