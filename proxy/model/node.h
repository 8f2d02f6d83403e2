// The own node in three steps: Config (what the operator asked for), NodeView (that, and what the cluster says of the
// node: all that resolve() depends on), NodeState (what dataplanes need to know once, beside the services). Pure.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kube/store.h"
#include "net/ip.h"

namespace fairlead::proxy::model {

// How traffic of pods is told from everybody else's (kube-proxy's detectLocalMode).
enum class DetectLocal : std::uint8_t { ClusterCidr, NodeCidr, BridgeInterface, InterfaceNamePrefix };
std::string_view to_string(DetectLocal mode);  // "ClusterCIDR", ...

// Fixed while the agent runs.
struct Config {
  DetectLocal detect_local = DetectLocal::ClusterCidr;
  std::vector<net::Prefix> cluster_cidrs;  // DetectLocal::ClusterCidr; the first of each family counts
  std::string local_interface;             // a name, or the beginning of names
  bool masquerade_all = false;             // all traffic to ClusterIPs
  bool node_ports_on_primary = false;      // NodePorts on the node's own addresses (those of its Node object) alone
  std::vector<net::Prefix> node_port_addresses;  // else on local addresses in here; none of a family: on all of it
  bool localhost_node_ports = true;              // NodePorts on loopback, where a dataplane can
  bool external_ips = true;                      // false: spec.externalIPs is ignored (KEP-5707)
  std::optional<net::Ip> node_ip;                // instead of the Node object's (--bind-address)
  bool operator==(const Config&) const = default;
};

struct NodeView {
  std::string name;
  std::string zone;                          // label topology.kubernetes.io/zone; empty when absent
  std::vector<net::Ip> addresses{};          // at most one per family; empty while the Node is unknown
  std::vector<net::Prefix> pod_cidrs{};      // spec.podCIDRs
  std::vector<net::Prefix> service_cidrs{};  // of every ServiceCIDR object; sorted, each once
  Config config{};
  bool operator==(const NodeView&) const = default;
};
// `name` is ours whether or not the Node object has been seen yet.
// Whether pods of that family can be told from strangers: node_state(view).pods.known(family), for less.
bool tells_pods(const NodeView& view, net::Family family);
NodeView node_view(const kube::Store& store, std::string_view name, const Config& config = {});

// Traffic of pods, by its source address or by the interface it comes in on.
struct LocalTraffic {
  std::vector<net::Prefix> sources;  // at most one per family
  std::string interface;             // empty: by source
  bool interface_is_prefix = false;
  // Without, pods of that family cannot be told from strangers: they are treated as such.
  bool known(net::Family family) const;
  bool operator==(const LocalTraffic&) const = default;
};

struct NodeState {
  LocalTraffic pods;
  // A NodePort answers on a local address that lies in one of these; 0.0.0.0/0 and ::/0 for all. Loopback addresses
  // never count here.
  std::vector<net::Prefix> node_port_addresses = {{net::Ip::v4(0, 0, 0, 0), 0}, {net::Ip(), 0}};
  // NodePorts answer on loopback too, if the dataplane can do it.
  bool localhost_node_ports = false;
  // Where ClusterIPs come from: what is sent to an address in here that no Service has is dropped.
  std::vector<net::Prefix> service_cidrs;
  bool operator==(const NodeState&) const = default;
};
NodeState node_state(const NodeView& view);
std::ostream& operator<<(std::ostream& out, const NodeState& state);

}  // namespace fairlead::proxy::model
