// ServiceSpec: a Service and its EndpointSlices as a scenario names them (pods by name, no address), and the manifests
// and addresses that follow from it.
#pragma once

#include <cstdint>
#include <map>
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

// Endpoints are named places: pods, or a node for a host-network pod.
struct SliceSpec {
  std::vector<std::string> ready;
  std::vector<std::string> not_ready;
  std::map<std::string, std::uint16_t> targets;  // by port name
  bool operator==(const SliceSpec&) const = default;
};

struct ServiceSpec {
  std::string name = "web";
  Exposure exposure = Exposure::ClusterIp;
  std::vector<PortSpec> ports = {PortSpec{}};
  std::vector<SliceSpec> slices;
  bool external_ip = false;
  Families families = Families::OfTheRun;
  bool operator==(const ServiceSpec&) const = default;

  const PortSpec* port(const std::string& port_name) const;
  // The port that the endpoint listens on, or 0 when it is none of this service.
  std::uint16_t target_of(const std::string& endpoint, const PortSpec& port) const;
};

// Where the n-th service lives. Numbers count up, so that no scenario meets the traces of another.
struct ServiceAddresses {
  unsigned number = 0;
  net::Ip cluster_ip(net::Family family) const;        // of 10.96.0.0/16, fd00:10:96::/112
  net::Ip external_ip(net::Family family) const;       // of 198.51.100.0/24, fd00:198:51:100::/64
  net::Ip load_balancer_ip(net::Family family) const;  // of 192.0.2.0/24, fd00:192:0:2::/64
  std::uint16_t node_port(std::size_t port_index) const;
};

// Service and EndpointSlices as API objects. `family` is the run's.
Result<std::vector<base::Value>> manifests(const ServiceSpec& service, const ServiceAddresses& addresses,
                                           net::Family family, Testbed& testbed);
// The Node object of every node.
std::vector<base::Value> node_manifests(Testbed& testbed);
// {kind: List, items: objects}
std::string list_document(std::vector<base::Value> objects);

}  // namespace fairlead::testbed
