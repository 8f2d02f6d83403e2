// Hints: which endpoints of the cluster this node sends to (KEP-2433, KEP-3015).
#include <gtest/gtest.h>

#include "proxy/model/test_objects.h"

namespace fairlead::proxy::model {
namespace {

using namespace test;

using Names = std::vector<std::string>;

kube::Endpoint here(int n) { return at("10.244.0." + std::to_string(n), "node1"); }
kube::Endpoint there(int n) { return at("10.244.0." + std::to_string(n), "node2"); }
kube::Endpoint zones(kube::Endpoint endpoint, Names names) {
  endpoint.topology = kube::Topology{.node_name = endpoint.topology->node_name,
                                     .zone_hints = std::move(names),
                                     .node_hints = endpoint.topology->node_hints};
  return endpoint;
}
kube::Endpoint nodes(kube::Endpoint endpoint, Names names) {
  endpoint.topology = kube::Topology{.node_name = endpoint.topology->node_name,
                                     .zone_hints = endpoint.topology->zone_hints,
                                     .node_hints = std::move(names)};
  return endpoint;
}

Service plain() { return web(); }
Service internal_local() {
  Service service = web();
  service.internal_traffic_policy = TrafficPolicy::Local;
  return service;
}
Service with_node_port(TrafficPolicy external, TrafficPolicy internal = TrafficPolicy::Cluster) {
  Service service = web();
  service.type = ServiceType::NodePort;
  service.ports[0].node_port = 30080;
  service.external_traffic_policy = external;
  service.internal_traffic_policy = internal;
  return service;
}

struct Case {
  std::string name;
  Service service;
  NodeView node;
  std::vector<kube::Endpoint> endpoints;
  std::string cluster;  // numbers of the endpoints in it
  std::string local = {};
};

std::string numbers(const std::vector<Endpoint>& endpoints) {
  std::string out;
  for (const Endpoint& endpoint : endpoints) out += std::to_string(endpoint.address.bytes()[15]);
  return out;
}

void check(const std::vector<Case>& cases) {
  for (const Case& each : cases) {
    const PortState port = resolved(each.service, {slice("a", each.endpoints)}, each.node).ports[0];
    EXPECT_EQ(numbers(port.cluster_endpoints), each.cluster) << each.name;
    EXPECT_EQ(numbers(port.local_endpoints), each.local) << each.name;
  }
}

const Names kA{"zone-a"};
const Names kB{"zone-b"};
const NodeView kNoZone{.name = "node1", .zone = ""};
const NodeView kElsewhere{.name = "node1", .zone = "zone-c"};
constexpr auto kCluster = TrafficPolicy::Cluster;
constexpr auto kLocal = TrafficPolicy::Local;

TEST(Topology, HintsForZones) {
  check({
      {"ours alone", plain(), kNode, {zones(here(1), kA), zones(there(2), kB), zones(there(3), kA)}, "13"},
      {"a node without a zone takes all", plain(), kNoZone, {zones(here(1), kA), zones(there(2), kB)}, "12"},
      {"hinted for no zone by name", plain(), kNoZone, {zones(here(1), {""}), zones(there(2), kB)}, "12"},
      {"nobody hinted for our zone", plain(), kElsewhere, {zones(here(1), kA), zones(there(2), kB)}, "12"},
      {"several zones on one", plain(), kNode, {zones(here(1), {"zone-b", "zone-a"}), zones(there(2), kB)}, "1"},
      {"one hint missing", plain(), kNode, {zones(here(1), kA), there(2)}, "12"},
      {"none hinted", plain(), kNode, {here(1), there(2)}, "12"},
      {"the hint missing at one that is not ready", plain(), kNode, {zones(here(1), kA), not_ready(there(2))}, "1"},
      {"the hint missing at one that drains", plain(), kNode, {zones(there(1), kA), draining(there(2))}, "1"},
      {"a hinted one that is not ready", plain(), kNode, {zones(here(1), kA), not_ready(zones(there(2), kA))}, "1"},
      {"only one that is not ready in our zone",
       plain(),
       kNode,
       {not_ready(zones(here(1), kA)), zones(there(2), kB)},
       "2"},
      {"only one that drains in our zone", plain(), kNode, {draining(zones(here(1), kA)), zones(there(2), kB)}, "2"},
  });
}

TEST(Topology, HintsForNodesComeFirst) {
  const Names ours{"node1"};
  const Names theirs{"node2"};
  check({
      {"ours alone", plain(), kNode, {nodes(here(1), ours), nodes(there(2), theirs)}, "1"},
      {"one is hinted for nobody: zones decide",
       plain(),
       kNode,
       {zones(nodes(here(1), ours), kB), zones(there(2), kA)},
       "2"},
      {"none for this node: zones decide",
       plain(),
       kNode,
       {zones(nodes(there(1), theirs), kA), zones(nodes(there(2), theirs), kB)},
       "1"},
      {"none for this node, no zones: all", plain(), kNode, {nodes(there(1), theirs), nodes(there(2), theirs)}, "12"},
      {"nodes against zones",
       plain(),
       kNode,
       {zones(nodes(here(1), ours), kB), zones(nodes(there(2), theirs), kA)},
       "1"},
      {"only one that is not ready here",
       plain(),
       kNode,
       {not_ready(nodes(here(1), ours)), nodes(there(2), theirs)},
       "2"},
      {"of a node without a zone", plain(), kNoZone, {nodes(here(1), ours), nodes(there(2), theirs)}, "1"},
  });
}

TEST(Topology, LocalSetsDoNotAskForHints) {
  const std::vector<kube::Endpoint> other_zone{zones(here(1), kB), zones(there(2), kA)};
  check({
      {"external local", with_node_port(kLocal), kNode, other_zone, "2", "1"},
      {"internal local", internal_local(), kNode, other_zone, "", "1"},
      {"both local", with_node_port(kLocal, kLocal), kNode, other_zone, "2", "1"},
      {"internal local, external not", with_node_port(kCluster, kLocal), kNode, other_zone, "2", "1"},
  });
}

TEST(Topology, InternalTrafficPolicyLocalHasNoClusterSet) {
  check({
      {"nothing", internal_local(), kNode, {}, "", ""},
      {"all remote", internal_local(), kNode, {there(1), there(2)}, "", ""},
      {"all here", internal_local(), kNode, {here(1), here(2)}, "", "12"},
      {"some here", internal_local(), kNode, {here(1), there(2)}, "", "1"},
      {"some here, not ready", internal_local(), kNode, {not_ready(here(1)), there(2)}, "", ""},
  });
}

TEST(Topology, WithoutReadyEndpointsWhateverDrainsServesWhateverTheHints) {
  check({
      {"none ready", plain(), kNode, {not_ready(here(1)), not_ready(there(2))}, ""},
      {"all draining", plain(), kNode, {draining(zones(here(1), kA)), draining(zones(there(2), kB))}, "12"},
      {"all draining, local", with_node_port(kLocal), kNode, {draining(here(1)), draining(there(2))}, "12", "1"},
      {"some draining, some gone", plain(), kNode, {draining(here(1)), gone(there(2))}, "1"},
      {"one that neither is ready nor serves", with_node_port(kLocal), kNode, {not_ready(here(1))}, "", ""},
  });
}

TEST(Topology, APolicyCountsOnlyWhereThereIsSomethingOutside) {
  Service unexposed = web();
  unexposed.external_traffic_policy = TrafficPolicy::Local;
  check({
      {"no external frontend", unexposed, kNode, {here(1), there(2)}, "12", ""},
      {"mixed policies", with_node_port(kCluster, kLocal), kNode, {here(1), there(2)}, "12", "1"},
      {"mixed the other way", with_node_port(kLocal, kCluster), kNode, {here(1), there(2)}, "12", "1"},
  });
}

}  // namespace
}  // namespace fairlead::proxy::model
