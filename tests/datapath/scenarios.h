// Scenarios: what a cluster with these services must do, as a table that runs unchanged on every dataplane and family.
//
//   {"ClusterIpReachesEveryEndpoint",
//    {{.given = {service("web").with_endpoints({"pod1a", "pod2a"})},
//      .expect = {from("pod1a").to(cluster_ip()).answered_by({"pod1a", "pod2a"}).seen_as(Seen::Client)}}}}
//
// A scenario is a row of phases; each puts a new complete set of services in force (matched by name) and then checks.
#pragma once

#include <string>
#include <vector>

#include "tests/datapath/service_spec.h"
#include "tests/datapath/testbed.h"

namespace fairlead::testbed {

// Which address a client connects to.
struct To {
  enum class Kind : std::uint8_t { ClusterIp, NodePort, ExternalIp, LoadBalancerIp } kind = Kind::ClusterIp;
  std::string service = "web";
  std::string port;   // by name; empty: the only one
  unsigned node = 0;  // NodePort: through this one
};
To cluster_ip(std::string port = "", std::string service = "web");
To node_port(unsigned node, std::string port = "", std::string service = "web");
To external_ip(std::string port = "", std::string service = "web");
To load_balancer_ip(std::string port = "", std::string service = "web");

// The source address that the endpoint sees.
enum class Seen : std::uint8_t {
  Client,         // the client's own
  Node,           // that of the node the client connected through
  ClientOrANode,  // the dataplanes differ: one rewrites packets, the other the socket's destination
};

struct Check {
  std::string client;
  To target;
  SocketStyle style = SocketStyle::Connected;
  Membership membership = Membership::Inside;
  std::uint32_t bytes = 0;
  unsigned requests = 1;
  enum class Outcome : std::uint8_t {
    Answered,    // each of `endpoints` at least once, and nobody else; always under the address the client asked for
    Refused,     // every attempt, at once
    Unanswered,  // by anybody
  } outcome = Outcome::Answered;
  std::vector<std::string> endpoints;
  Seen seen = Seen::ClientOrANode;
  unsigned through_node = 0;  // Seen::Node where `target` names no node

  Check to(To address) const;
  Check unconnected() const;
  Check over_a_mapped_socket() const;
  Check outside_the_cgroup() const;  // as a process that no socket hook sees
  Check of_bytes(std::uint32_t count) const;
  Check with_requests(unsigned count) const;  // over one connection
  Check answered_by(std::vector<std::string> names) const;
  Check refused() const;
  Check unanswered() const;
  Check seen_as(Seen source, unsigned node = 0) const;
};
Check from(std::string place);

// ServiceSpec, word by word.
struct ServiceBuilder : ServiceSpec {
  ServiceBuilder with_port(PortSpec spec) const;  // the first replaces the default
  ServiceBuilder with_endpoints(std::vector<std::string> ready) const;
  ServiceBuilder with_slice(SliceSpec slice) const;
  ServiceBuilder as(Exposure how) const;
  ServiceBuilder with_external_ip() const;
  ServiceBuilder in_both_families() const;
};
ServiceBuilder service(std::string name);

struct Phase {
  std::vector<ServiceSpec> given;
  std::vector<Check> expect;
};

// What not every kernel, family or dataplane has.
enum class Needs : std::uint8_t {
  Nothing,
  IPv4,
  Sctp,  // sockets of it in the kernel
};

struct Scenario {
  std::string name;
  std::vector<Phase> phases;
  Needs needs = Needs::Nothing;
};

const std::vector<Scenario>& scenarios();

// What the endpoints of every scenario listen on; every pod all of it.
std::vector<std::string> pod_listeners(bool with_sctp);
inline constexpr std::uint16_t kHostNetworkPort = 7070;  // on nodes

}  // namespace fairlead::testbed
