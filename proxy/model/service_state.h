// ServiceState: everything a dataplane needs to know about one Service, with every Kubernetes rule already applied.
// A dataplane never looks at a Kubernetes object; two equal ServiceStates program the same kernel state.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "kube/objects.h"
#include "net/ip.h"

namespace fairlead::proxy::model {

using kube::Key;
using kube::Protocol;

struct Endpoint {
  net::Ip address;
  std::uint16_t port = 0;
  bool local = false;  // runs on this node
  auto operator<=>(const Endpoint&) const = default;
};

enum class FrontendKind : std::uint8_t { ClusterIp, NodePort, ExternalIp, LoadBalancerIp };
std::string_view to_string(FrontendKind kind);

// Which of PortState's endpoint sets a frontend sends to.
enum class Pool : std::uint8_t { Cluster, Local };
// What a client sees when that set is empty: connection refused, or silence.
enum class WhenEmpty : std::uint8_t { Reject, Drop };

// Whose packets get the node's address as their source. An endpoint that reaches itself does in any case, and so does
// a process of the node at a frontend that short-circuits.
enum class Masquerade : std::uint8_t {
  Never,
  Always,
  OffCluster,  // everybody's but those of pods (NodeState::pods, which is known in this family then)
};
std::string_view to_string(Masquerade masquerade);

struct Frontend {
  FrontendKind kind = FrontendKind::ClusterIp;
  net::Ip address;         // unset (::) for NodePort: any address of the node that takes NodePort traffic
  std::uint16_t port = 0;  // service port, or the node port
  Pool pool = Pool::Cluster;
  WhenEmpty when_empty = WhenEmpty::Reject;  // of `pool`; an empty cluster set is rejected in any case
  Masquerade masquerade = Masquerade::Never;
  // KEP-1436 and kubernetes v1.36 pkg/proxy: externalTrafficPolicy Local is for clients outside. A pod
  // (NodeState::pods, where known) is served from the cluster set with its own address; a client whose source is an
  // address of this node is served from the cluster set with the node's. Everybody else: `pool`, which is Local, and
  // `masquerade`, Never.
  bool short_circuit = false;
  bool restricted = false;  // only for PortState::allowed_sources; everybody else's packets are dropped
  auto operator<=>(const Frontend&) const = default;
};

// One port of a Service in one family.
struct PortState {
  std::string name;
  Protocol protocol = Protocol::Tcp;
  net::Family family = net::Family::V4;
  std::vector<Frontend> frontends;          // sorted
  std::vector<Endpoint> cluster_endpoints;  // sorted, no duplicates
  std::vector<Endpoint> local_endpoints;    // sorted, no duplicates; empty unless a frontend uses Pool::Local
  // Every endpoint that still serves, wherever it is and whatever hints and policies say: established flows of UDP may
  // stay with these and no others. Sorted, no duplicates.
  std::vector<Endpoint> serving_endpoints;
  // sessionAffinity ClientIP: connections of one source address stay with one endpoint of the pool they are served
  // from, through whichever frontend of this port, until so many seconds passed without a new one. 0: no affinity.
  std::uint32_t affinity_seconds = 0;
  // spec.loadBalancerSourceRanges, and the addresses that may use their own frontends (a node that holds a load
  // balancer's address connects from it). Sorted, each once; empty with a restricted frontend: nobody.
  std::vector<net::Prefix> allowed_sources;
  bool operator==(const PortState&) const = default;

  const std::vector<Endpoint>& pool(Pool which) const {
    return which == Pool::Cluster ? cluster_endpoints : local_endpoints;
  }
};

// Endpoints by distinct address over all ports, for people; a pod of a dual-stack service counts once.
struct EndpointCounts {
  std::uint32_t local = 0;  // ready and on this node
  std::uint32_t ready = 0;
  std::uint32_t total = 0;
  bool operator==(const EndpointCounts&) const = default;
};

struct ServiceState {
  Key key;
  kube::ServiceType type = kube::ServiceType::ClusterIp;
  std::vector<PortState> ports;  // empty: the Service exists and yields nothing (headless, ExternalName)
  EndpointCounts counts;
  // Where load balancers ask whether this node has endpoints (counts.local); 0: nowhere.
  std::uint16_t health_check_node_port = 0;
  bool operator==(const ServiceState&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Endpoint& endpoint);
std::ostream& operator<<(std::ostream& out, const Frontend& frontend);
std::ostream& operator<<(std::ostream& out, const PortState& port);
std::ostream& operator<<(std::ostream& out, const ServiceState& state);

// What happened to services since the last batch, by key. A key is in one of the two lists, once.
struct Changes {
  std::vector<ServiceState> upserted;
  std::vector<Key> deleted;
  bool empty() const { return upserted.empty() && deleted.empty(); }
  bool operator==(const Changes&) const = default;
};

}  // namespace fairlead::proxy::model
