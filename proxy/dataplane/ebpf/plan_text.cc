#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/strings.h"
#include "proxy/dataplane/ebpf/node_plan.h"
#include "proxy/dataplane/ebpf/plan.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

using base::cat;

// Flags by name, in the order given.
std::string words(std::uint32_t flags, std::initializer_list<std::pair<std::uint32_t, const char*>> names) {
  std::vector<std::string> out;
  for (const auto& [flag, name] : names) {
    if ((flags & flag) != 0) out.emplace_back(name);
  }
  return base::join(out, ", ");
}

std::string node_text(const model::NodeState& node) {
  std::string out;
  for (const auto& [key, flags] : plan_networks(node)) {
    base::append(out, cat("networks ", to_prefix(key.addr, key.prefixlen).to_string(), ": ",
                          words(flags, {{bpf::NETWORK_PODS, "pods"}, {bpf::NETWORK_SERVICES, "services"}}), "\n"));
  }
  if (!node.pods.interface.empty()) {
    base::append(
        out, cat("pod_interfaces ", node.pods.interface, node.pods.interface_is_prefix ? "*" : "", " and its ports\n"));
  }
  for (const net::Prefix& prefix : node.node_port_addresses) {
    base::append(out, cat("node_addresses in ", prefix.to_string(), ": node ports\n"));
  }
  const std::string config = words(plan_node_flags(node), {{bpf::NODE_TELLS_PODS_V4, "tells pods of IPv4"},
                                                           {bpf::NODE_TELLS_PODS_V6, "tells pods of IPv6"},
                                                           {bpf::NODE_LOOPBACK_NODE_PORTS, "loopback node ports"}});
  base::append(out, cat("node_config: ", config.empty() ? "nothing" : config, "\n"));
  return out;
}

// Extents by content; numbered as they are met.
class ExtentNames {
 public:
  std::string name(const Pool& pool) {
    if (pool.empty()) return "none";
    const std::string content = text(pool);
    const auto [at, fresh] = numbers_.emplace(content, contents_.size() + 1);
    if (fresh) contents_.push_back(content);
    return cat("extent ", at->second);
  }
  std::string list() const {
    std::string out;
    for (std::size_t i = 0; i < contents_.size(); ++i)
      base::append(out, cat("slots extent ", i + 1, ":", contents_[i], "\n"));
    return out;
  }

 private:
  static std::string text(const Pool& pool) {
    std::string out;
    for (const Target& target : pool) {
      base::append(out, cat(" ", net::host_port(to_ip(target.addr), from_be16(target.port_be))));
      const std::string flags = words(target.flags, {{bpf::SLOT_LOCAL, "local"}, {bpf::SLOT_KEPT, "kept"}});
      if (!flags.empty()) base::append(out, cat(" (", flags, ")"));
    }
    return out;
  }

  std::map<std::string, std::size_t> numbers_;
  std::vector<std::string> contents_;
};

std::string frontend_text(const Claim& claim, ExtentNames& extents) {
  std::string out = cat("frontends ", to_string(claim.key), ": ", extents.name(*claim.pool));
  const std::string flags = words(claim.flags, {{bpf::FRONTEND_ADDRESS, "refuses"},
                                                {bpf::FRONTEND_MASQUERADE, "masquerade"},
                                                {bpf::FRONTEND_MASQUERADE_OFF_CLUSTER, "masquerade off-cluster"},
                                                {bpf::FRONTEND_DROP_WHEN_EMPTY, "drop when empty"},
                                                {bpf::FRONTEND_RESTRICTED, "restricted"}});
  if (!flags.empty()) base::append(out, cat(", ", flags));
  if ((claim.flags & bpf::FRONTEND_SHORT_CIRCUIT) != 0)
    base::append(out, cat(", short circuit to ", extents.name(*claim.cluster)));
  if (claim.affinity_seconds > 0) {
    base::append(out, cat(", affinity ", claim.affinity_seconds, " s as ", to_string(claim.affinity)));
  }
  return out + "\n";
}

}  // namespace

std::string plan_text(const model::NodeState& node, const std::vector<model::ServiceState>& services) {
  std::vector<const model::ServiceState*> ordered;
  for (const model::ServiceState& service : services) ordered.push_back(&service);
  std::sort(ordered.begin(), ordered.end(), [](const auto* a, const auto* b) { return a->key < b->key; });
  // Of two that claim one frontend the smaller key has it.
  std::map<bpf::frontend_key, Claim> claims;
  for (const model::ServiceState* service : ordered) {
    for (Claim& claim : plan(*service)) claims.try_emplace(claim.key, std::move(claim));
  }
  ExtentNames extents;
  std::string frontends;
  std::string sources;
  for (const auto& [key, claim] : claims) {
    base::append(frontends, frontend_text(claim, extents));
    if (!claim.sources) continue;
    for (const net::Prefix& source : *claim.sources) {
      base::append(sources, cat("sources ", to_string(key), ": ", source.to_string(), "\n"));
    }
  }
  return cat(node_text(node), frontends, extents.list(), sources);
}

}  // namespace fairlead::proxy::dataplane::ebpf
