// Scenarios: what a cluster with these services must do, as a table that runs unchanged on every dataplane and family.
//
//   {"ClusterIpReachesEveryEndpoint", "8.1/3",
//    {{.given = {service("web").with_endpoints({"pod1a", "pod2a"})},
//      .expect = {from("pod1a").to(cluster_ip()).answered_by({"pod1a", "pod2a"}).seen_as(Seen::Client)}}}}
//
// A scenario is a row of phases; each puts a new complete set of services in force (matched by name) and then checks.
// It names the items of the contract that it proves (contract.h), and where a dataplane does it differently by design.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/datapath/operator.h"
#include "tests/datapath/service_spec.h"
#include "tests/datapath/testbed.h"

namespace fairlead::testbed {

// Which address a client connects to.
struct To {
  enum class Kind : std::uint8_t {
    ClusterIp,
    NodePort,           // on a node's address
    SecondNodePort,     // on its second one
    LocalhostNodePort,  // on loopback
    ExternalIp,
    LoadBalancerIp,
    HealthCheckNodePort,
    Unallocated,  // an address for ClusterIPs that no service has
  } kind = Kind::ClusterIp;
  std::string service = "web";
  std::string port{};        // by name; empty: the only one
  unsigned node = 0;         // through this one
  unsigned which = 0;        // of the load balancer's addresses
  std::uint16_t number = 0;  // another port than the service's
  To on_port(std::uint16_t other) const;
};
To cluster_ip(std::string port = "", std::string service = "web");
To node_port(unsigned node, std::string port = "", std::string service = "web");
To second_node_port(unsigned node, std::string port = "", std::string service = "web");
To localhost_node_port(std::string port = "", std::string service = "web");
To external_ip(std::string port = "", std::string service = "web");
To load_balancer_ip(std::string port = "", std::string service = "web");
To second_load_balancer_ip(std::string port = "", std::string service = "web");
To health_check(unsigned node, std::string service = "web");
To unallocated_ip(std::string port = "", std::string service = "web");

// The source address that the endpoint sees.
enum class Seen : std::uint8_t {
  Client,  // the client's own
  Node,    // that of the node that translates: which the client connected through, else its own, else the route's
  // As Node, but a client whose sockets the dataplane redirects has no packet to masquerade: it is seen as Client
  // (docs/adr/0004).
  Masqueraded,
  ClientOrANode,  // not what this check is about
};

struct Check {
  std::string client;
  To target;
  SocketStyle style = SocketStyle::Connected;
  Membership membership = Membership::Inside;
  std::uint32_t bytes = 0;
  unsigned requests = 1;
  bool invalid_segment = false;    // ConnectSpec
  bool begins_unanswered = false;  // StartsFlow: there is nobody yet
  bool holds_the_address = false;  // the client has the address it connects to, so that it also comes from there
  enum class Outcome : std::uint8_t {
    Answered,    // each of `endpoints` at least once, and nobody else; always under the address the client asked for
    Refused,     // every attempt, at once
    Dropped,     // silence
    Unanswered,  // by anybody
    OneAnswers,  // all attempts are answered by one and the same of `endpoints`; see `memory`
    AnotherAnswers,  // sooner or later: of `endpoints`, not the one in `memory`, tried once a second or so
    Http,            // answers GET with `http_status` and so many `http_endpoints`
    Evenly,          // each of `endpoints` as often as the others, within what chance does
    StartsFlow,      // a connection, or a socket of datagrams, named `memory`, that goes on in the background
    FlowGoesOn,      // without a loss, over one connection, answered by who answered first
    FlowMoves,       // to `endpoints`, soon
    FlowFallsSilent,
  } outcome = Outcome::Answered;
  std::vector<std::string> endpoints;
  std::string memory;  // OneAnswers: the same one as in earlier checks of this name
  unsigned pause_ms = 0;
  unsigned http_status = 0;
  std::optional<unsigned> http_endpoints;
  Seen seen = Seen::ClientOrANode;

  Check to(To address) const;
  Check unconnected() const;
  Check over_a_mapped_socket() const;
  Check outside_the_cgroup() const;  // as a process that no socket hook sees
  Check of_bytes(std::uint32_t count) const;
  Check with_requests(unsigned count) const;  // over one connection
  Check with_an_invalid_segment() const;
  Check holding_the_address() const;
  Check answered_by(std::vector<std::string> names) const;
  Check answered_by_one_of(std::vector<std::string> names, std::string remembered_as = "") const;
  Check answered_by_another_of(std::vector<std::string> names, std::string than_remembered_as, unsigned every_ms) const;
  Check answered_evenly_by(std::vector<std::string> names) const;
  Check refused() const;
  Check dropped() const;
  Check unanswered() const;
  Check seen_as(Seen source) const;
  Check answers_http(unsigned status, std::optional<unsigned> endpoints = std::nullopt) const;
  Check starts_flow(std::string name) const;
  Check starts_unanswered_flow(std::string name) const;
};
Check from(std::string place);

// A flow that an earlier check of the scenario started.
struct Flow {
  std::string name;
  Check goes_on() const;
  Check moves_to(std::vector<std::string> names) const;
  Check falls_silent() const;
};
Flow flow(std::string name);

// ServiceSpec, word by word.
struct ServiceBuilder : ServiceSpec {
  ServiceBuilder with_port(PortSpec spec) const;  // the first replaces the default
  ServiceBuilder with_endpoints(std::vector<std::string> ready) const;
  ServiceBuilder with_slice(SliceSpec slice) const;
  ServiceBuilder with(std::vector<EndpointSpec> endpoints) const;  // a slice of these
  ServiceBuilder as(Exposure how) const;
  ServiceBuilder with_external_ip() const;
  ServiceBuilder in_both_families() const;
  ServiceBuilder external_policy_local() const;
  ServiceBuilder internal_policy_local() const;
  ServiceBuilder with_affinity(std::uint32_t seconds) const;
  ServiceBuilder allowing(std::vector<std::string> sources) const;  // loadBalancerSourceRanges
  ServiceBuilder with_load_balancer_ips(unsigned count, std::string mode = "") const;
  ServiceBuilder with_one_node_port() const;  // for all its ports
  ServiceBuilder with_health_check() const;
  ServiceBuilder in_the_second_range() const;
  ServiceBuilder without_cluster_ip() const;
  ServiceBuilder with_external_name(std::string name) const;
  ServiceBuilder of_the_other_proxy() const;
};
ServiceBuilder service(std::string name);

// Ports as most scenarios have them: 80, served by the endpoints at 8080.
inline constexpr std::uint16_t kMain = 8080;
inline constexpr std::uint16_t kSecond = 8443;
PortSpec tcp(std::string name = "", std::uint16_t port = 80, std::uint16_t target = kMain);
PortSpec udp(std::string name = "", std::uint16_t port = 80, std::uint16_t target = kMain);
PortSpec sctp(std::string name = "", std::uint16_t port = 80, std::uint16_t target = kMain);
// "web" with TCP "t" and UDP "u" on port 80.
ServiceBuilder both_protocols(std::uint16_t target = kMain);
std::vector<std::string> one_per_node();  // {"pod1a", "pod2a", "pod3a"}

struct Phase {
  std::vector<ServiceSpec> given;
  std::vector<Check> expect;
  ClusterSpec cluster{};
};

// What not every kernel, family or driver has.
enum class Needs : std::uint8_t {
  Nothing,
  IPv4,
  IPv6,
  Sctp,    // sockets of it in the kernel
  Agents,  // the real ones: what they do beside the dataplane
};

// Where a dataplane differs from the contract on purpose. It is still checked: by these phases, else by the scenario's.
struct Difference {
  std::vector<std::string> dataplanes;
  std::string why;  // with its ADR
  std::vector<Phase> phases{};
  std::optional<net::Family> family{};  // only in this one
};

struct Scenario {
  std::string name;
  std::string items;  // of the contract, as in contract(), separated by blanks
  std::vector<Phase> phases;
  Needs needs = Needs::Nothing;
  Operator setup = Operator::Usual;
  std::vector<Difference> differs{};

  const Difference* difference(const std::string& dataplane, net::Family family) const;
};

// The table, ordered by Operator.
const std::vector<Scenario>& scenarios();
// Those that are played on pods of a bridge too (PodLink::Bridged), hairpin among them.
const std::vector<Scenario>& bridged_scenarios();

// What the endpoints of every scenario listen on; every pod all of it.
std::vector<std::string> pod_listeners(bool with_sctp);
inline constexpr std::uint16_t kHostNetworkPort = 7070;  // on nodes

}  // namespace fairlead::testbed
