#include "proxy/model/node.h"

#include <algorithm>
#include <ostream>

namespace fairlead::proxy::model {
namespace {

using net::Family;
using net::Ip;
using net::Prefix;

constexpr Family kFamilies[] = {Family::V4, Family::V6};

Prefix everything(Family family) { return {family == Family::V4 ? Ip::v4(0, 0, 0, 0) : Ip(), 0}; }

template <typename T>
const T* first_of(const std::vector<T>& list, Family family) {
  const auto it = std::find_if(list.begin(), list.end(), [&](const T& one) { return one.family() == family; });
  return it == list.end() ? nullptr : &*it;
}

// InternalIPs before ExternalIPs, in the Node's order, one per family (kubernetes v1.36 pkg/proxy/util/nodeIPs).
std::vector<Ip> addresses_of(const kube::Node* node, const std::optional<Ip>& given) {
  std::vector<Ip> all;
  if (given && !given->is_unspecified()) all.push_back(*given);
  if (node != nullptr) {
    all.insert(all.end(), node->internal_ips.begin(), node->internal_ips.end());
    all.insert(all.end(), node->external_ips.begin(), node->external_ips.end());
  }
  std::vector<Ip> out;
  for (const Ip& ip : all) {
    if (first_of(out, ip.family()) == nullptr) out.push_back(ip);
  }
  return out;
}

std::vector<Prefix> service_cidrs_of(const kube::Store& store) {
  std::vector<Prefix> out;
  for (const auto& [key, object] : store.service_cidrs())
    out.insert(out.end(), object.cidrs.begin(), object.cidrs.end());
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

LocalTraffic local_traffic(const NodeView& view) {
  const Config& config = view.config;
  LocalTraffic out;
  switch (config.detect_local) {
    case DetectLocal::BridgeInterface:
    case DetectLocal::InterfaceNamePrefix:
      out.interface = config.local_interface;
      out.interface_is_prefix = config.detect_local == DetectLocal::InterfaceNamePrefix;
      return out;
    case DetectLocal::ClusterCidr:
    case DetectLocal::NodeCidr: break;
  }
  const auto& from = config.detect_local == DetectLocal::ClusterCidr ? config.cluster_cidrs : view.pod_cidrs;
  for (const Family family : kFamilies) {
    if (const Prefix* prefix = first_of(from, family)) out.sources.push_back(*prefix);
  }
  return out;
}

// Nothing named in a family means all of it, also when the other family has something; a /0 swallows the rest.
std::vector<Prefix> node_port_addresses(const NodeView& view) {
  std::vector<Prefix> named = view.config.node_port_addresses;
  if (view.config.node_ports_on_primary) {
    named.clear();
    for (const Ip& address : view.addresses) {
      if (!address.is_loopback()) named.push_back(Prefix::host(address));
    }
  }
  std::sort(named.begin(), named.end());
  named.erase(std::unique(named.begin(), named.end()), named.end());
  std::vector<Prefix> out;
  for (const Family family : kFamilies) {
    const auto of_family = [&](const Prefix& prefix) { return prefix.family() == family; };
    const auto all = [&](const Prefix& prefix) { return of_family(prefix) && prefix.length == 0; };
    if (std::none_of(named.begin(), named.end(), of_family) || std::any_of(named.begin(), named.end(), all)) {
      out.push_back(everything(family));
    } else {
      std::copy_if(named.begin(), named.end(), std::back_inserter(out), of_family);
    }
  }
  return out;
}

// Whoever names the addresses that take NodePort traffic leaves loopback out, unless it is among them (kubernetes v1.36
// pkg/proxy/util/nodeport_addresses.go, ContainsIPv4Loopback). One answer for both families: that of IPv4.
bool serves_localhost(const NodeView& view, const std::vector<Prefix>& node_port_addresses) {
  const Ip localhost = Ip::v4(127, 0, 0, 1);
  return view.config.localhost_node_ports &&
         std::any_of(node_port_addresses.begin(), node_port_addresses.end(),
                     [&](const Prefix& prefix) { return prefix.contains(localhost); });
}

}  // namespace

std::string_view to_string(DetectLocal mode) {
  switch (mode) {
    case DetectLocal::ClusterCidr: return "ClusterCIDR";
    case DetectLocal::NodeCidr: return "NodeCIDR";
    case DetectLocal::BridgeInterface: return "BridgeInterface";
    case DetectLocal::InterfaceNamePrefix: return "InterfaceNamePrefix";
  }
  return "?";
}

bool tells_pods(const NodeView& view, Family family) {
  switch (view.config.detect_local) {
    case DetectLocal::ClusterCidr: return first_of(view.config.cluster_cidrs, family) != nullptr;
    case DetectLocal::NodeCidr: return first_of(view.pod_cidrs, family) != nullptr;
    case DetectLocal::BridgeInterface:
    case DetectLocal::InterfaceNamePrefix: return !view.config.local_interface.empty();
  }
  return false;
}

bool LocalTraffic::known(Family family) const { return !interface.empty() || first_of(sources, family) != nullptr; }

NodeView node_view(const kube::Store& store, std::string_view name, const Config& config) {
  NodeView out{.name = std::string(name), .zone = {}, .service_cidrs = service_cidrs_of(store), .config = config};
  const kube::Node* node = store.node();
  out.addresses = addresses_of(node, config.node_ip);
  if (node == nullptr) return out;
  out.pod_cidrs = node->pod_cidrs;
  const auto zone = node->labels.find(std::string(kube::kZoneLabel));
  if (zone != node->labels.end()) out.zone = zone->second;
  return out;
}

NodeState node_state(const NodeView& view) {
  NodeState out{.pods = local_traffic(view),
                .node_port_addresses = node_port_addresses(view),
                .localhost_node_ports = false,
                .service_cidrs = view.service_cidrs};
  out.localhost_node_ports = serves_localhost(view, out.node_port_addresses);
  return out;
}

std::ostream& operator<<(std::ostream& out, const NodeState& state) {
  out << "node: pods";
  for (const Prefix& prefix : state.pods.sources) out << ' ' << prefix;
  if (!state.pods.interface.empty()) {
    out << " on " << state.pods.interface << (state.pods.interface_is_prefix ? "*" : "");
  }
  out << ", NodePorts on";
  for (const Prefix& prefix : state.node_port_addresses) out << ' ' << prefix;
  if (state.localhost_node_ports) out << " and loopback";
  out << ", services in";
  for (const Prefix& prefix : state.service_cidrs) out << ' ' << prefix;
  return out;
}

}  // namespace fairlead::proxy::model
