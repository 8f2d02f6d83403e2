// ServiceSpec: a Service and its EndpointSlices as a scenario names them (pods by name, no address), and the manifests
// and addresses that follow from it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "net/ip.h"
#include "tests/datapath/probe_spec.h"

namespace fairlead::testbed {

class Testbed;

enum class Exposure : std::uint8_t { ClusterIp, NodePort, LoadBalancer };
enum class Families : std::uint8_t { OfTheRun, Both };

struct PortSpec {
  std::string name;  // may be empty when it is the only one
  std::uint16_t port = 80;
  Transport transport = Transport::Tcp;
  std::uint16_t target = 8080;  // what the endpoints listen on, unless a slice says otherwise
  bool operator==(const PortSpec&) const = default;
};

// An endpoint is a named place: a pod, or a node for a host-network pod. A condition that is not set is absent.
struct EndpointSpec {
  std::string place;
  std::optional<bool> ready = true;
  std::optional<bool> serving{};
  std::optional<bool> terminating{};
  std::vector<std::string> zones{};  // hints.forZones
  std::vector<std::string> nodes{};  // hints.forNodes
  bool operator==(const EndpointSpec&) const = default;

  EndpointSpec for_zones(std::vector<std::string> names) const;
  EndpointSpec for_nodes(std::vector<std::string> names) const;
};
EndpointSpec ready(std::string place);
EndpointSpec not_ready(std::string place);
EndpointSpec serving_while_terminating(std::string place);
EndpointSpec no_longer_serving(std::string place);  // terminating, its readiness probe fails
EndpointSpec without_conditions(std::string place);

struct SliceSpec {
  std::vector<EndpointSpec> endpoints;
  std::map<std::string, std::uint16_t> targets{};  // by port name
  bool headless = false;                           // labelled service.kubernetes.io/headless
  bool fqdn = false;                               // addressType FQDN: names instead of addresses
  bool operator==(const SliceSpec&) const = default;
};

struct ServiceSpec {
  std::string name = "web";
  Exposure exposure = Exposure::ClusterIp;
  std::vector<PortSpec> ports = {PortSpec{}};
  std::vector<SliceSpec> slices;
  bool external_ip = false;
  Families families = Families::OfTheRun;
  bool external_local = false;  // externalTrafficPolicy
  bool internal_local = false;  // internalTrafficPolicy
  std::uint32_t affinity_seconds = 0;
  // loadBalancerSourceRanges: places, or prefixes of any family; blanks around either are kept.
  std::vector<std::string> allowed;
  unsigned load_balancer_ips = 1;
  std::string load_balancer_mode;  // ipMode; empty: absent
  bool one_node_port = false;      // all ports have the same, each for its protocol
  bool health_check = false;       // has a healthCheckNodePort
  bool second_range = false;       // its clusterIP is of the second ServiceCIDR
  bool headless = false;           // clusterIP None
  std::string external_name;       // type ExternalName
  bool of_another_proxy = false;   // labelled service.kubernetes.io/service-proxy-name
  bool operator==(const ServiceSpec&) const = default;

  const PortSpec* port(const std::string& port_name) const;
  // The ports that the endpoint may be reached at.
  std::vector<std::uint16_t> targets_of(const std::string& endpoint, const PortSpec& port) const;
};

// Where the n-th service lives. Numbers count up, so that no scenario meets the traces of another.
struct ServiceAddresses {
  unsigned number = 0;
  bool second_range = false;
  net::Ip cluster_ip(net::Family family) const;   // of 10.96.0.0/16, fd00:10:96::/112; else 10.97..., fd00:10:97...
  net::Ip external_ip(net::Family family) const;  // of 198.51.100.0/24, fd00:198:51:100::/64
  // Of 192.0.2.0/24, fd00:192:0:2::/64; the second one of 203.0.113.0/24, fd00:203:0:113::/64.
  net::Ip load_balancer_ip(net::Family family, unsigned which = 0) const;
  std::uint16_t node_port(std::size_t port_index) const;
  std::uint16_t health_check_node_port() const;
};
// An address of the first range that no service has.
net::Ip unallocated_cluster_ip(net::Family family);

// Service and EndpointSlices as API objects. `family` is the run's.
Result<std::vector<base::Value>> manifests(const ServiceSpec& service, const ServiceAddresses& addresses,
                                           net::Family family, Testbed& testbed);
// What the cluster says beside services.
struct ClusterSpec {
  std::map<unsigned, std::string> zones = {{1, "zone-a"}, {2, "zone-b"}};  // by node; absent: no such label
  bool second_range = false;                                               // a second ServiceCIDR
  bool operator==(const ClusterSpec&) const = default;
};
// The Node object of every node, and the ServiceCIDRs.
std::vector<base::Value> cluster_manifests(const ClusterSpec& cluster, Testbed& testbed);
// {kind: List, items: objects}
std::string list_document(std::vector<base::Value> objects);

}  // namespace fairlead::testbed
