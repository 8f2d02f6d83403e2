// Traffic policies: who is served from which set, and what an empty one means.
#include <gtest/gtest.h>

#include "proxy/model/test_objects.h"

namespace fairlead::proxy::model {
namespace {

using namespace test;

TEST(Policy, InternalTrafficPolicyLocalKeepsClusterIpTrafficOnTheNode) {
  Service service = web();
  service.internal_traffic_policy = kube::TrafficPolicy::Local;
  const EndpointSlice both = slice("a", {at("10.244.1.10", "node1"), at("10.244.2.10", "node2")});
  const PortState port = resolved(service, {both}).ports[0];
  EXPECT_EQ(port.pool(port.frontends[0].pool), (std::vector<Endpoint>{{ip("10.244.1.10"), kTarget, true}}));
  EXPECT_TRUE(port.cluster_endpoints.empty());  // nobody asks for it

  const auto when_empty = [&](const std::vector<EndpointSlice>& slices) {
    return resolved(service, slices).ports[0].frontends[0].when_empty;
  };
  EXPECT_EQ(when_empty({slice("a", {at("10.244.2.10", "node2")})}), WhenEmpty::Drop);
  EXPECT_EQ(when_empty({}), WhenEmpty::Reject);
}

constexpr FrontendKind kExternalKinds[] = {FrontendKind::NodePort, FrontendKind::ExternalIp,
                                           FrontendKind::LoadBalancerIp};

Service with_policies(TrafficPolicy internal, TrafficPolicy external) {
  Service service = exposed_web();
  service.internal_traffic_policy = internal;
  service.external_traffic_policy = external;
  return service;
}
// "pool/when_empty" of a frontend.
std::string serves(const PortState& port, FrontendKind kind) {
  const Frontend frontend = frontend_of(port, kind);
  return std::string(frontend.pool == Pool::Local ? "local" : "cluster") +
         (frontend.when_empty == WhenEmpty::Drop ? "/drop" : "/reject");
}

TEST(Policy, InternalDecidesForTheClusterIpAndExternalForTheOthers) {
  constexpr auto kCluster = TrafficPolicy::Cluster;
  constexpr auto kLocal = TrafficPolicy::Local;
  const std::vector<EndpointSlice> both{slice("a", {at("10.244.1.10", "node1"), at("10.244.2.10")})};
  for (const auto internal : {kCluster, kLocal}) {
    for (const auto external : {kCluster, kLocal}) {
      const PortState port = resolved(with_policies(internal, external), both).ports[0];
      EXPECT_EQ(serves(port, FrontendKind::ClusterIp), internal == kLocal ? "local/drop" : "cluster/reject");
      for (const FrontendKind kind : kExternalKinds) {
        EXPECT_EQ(serves(port, kind), external == kLocal ? "local/drop" : "cluster/reject");
        EXPECT_EQ(frontend_of(port, kind).short_circuit, external == kLocal);
      }
      EXPECT_FALSE(frontend_of(port, FrontendKind::ClusterIp).short_circuit);
      EXPECT_EQ(places(port.cluster_endpoints), "10.244.1.10:8080 10.244.2.10:8080") << "somebody needs it";
      EXPECT_EQ(places(port.local_endpoints), internal == kLocal || external == kLocal ? "10.244.1.10:8080" : "");
    }
  }
}

TEST(Policy, WithNoEndpointAnywhereEverybodyIsRefused) {
  for (const std::vector<EndpointSlice>& none :
       {std::vector<EndpointSlice>{}, {slice("a", {})}, {slice("a", {not_ready(at("10.244.1.10", "node1"))})}}) {
    const PortState port = resolved(with_policies(TrafficPolicy::Local, TrafficPolicy::Local), none).ports[0];
    for (const Frontend& frontend : port.frontends) {
      EXPECT_EQ(frontend.when_empty, WhenEmpty::Reject);
      EXPECT_EQ(frontend.short_circuit, frontend.kind != FrontendKind::ClusterIp);
    }
  }
}

TEST(Policy, ExternalLocalCountsForWhatIsReachableFromOutside) {
  const auto external_is_local = [](const Service& service) {
    const PortState port = resolved(service, {}).ports[0];
    return port.frontends.size() > 1 && port.frontends[1].short_circuit;
  };
  for (const ServiceType type : {ServiceType::NodePort, ServiceType::LoadBalancer, ServiceType::ClusterIp}) {
    Service service = exposed_web(type);
    service.external_traffic_policy = TrafficPolicy::Local;
    EXPECT_TRUE(external_is_local(service));
    service.external_ips.clear();
    EXPECT_EQ(external_is_local(service), type != ServiceType::ClusterIp) << "kept from another type, by an old server";
  }
}

// The terminating cases of kube-proxy's proxier tests: an external policy Local, an internal policy Cluster.
TEST(Policy, TerminatingEndpointsServeWhereNobodyElseDoes) {
  const auto near = [](int n) { return at("10.244.1." + std::to_string(n), "node1"); };
  const auto far = [](int n) { return at("10.244.2." + std::to_string(n), "node2"); };
  struct Case {
    std::string name;
    std::vector<kube::Endpoint> endpoints;
    std::string cluster;
    std::string local;
    std::string node_port;  // as serves()
  };
  const std::vector<Case> cases{
      {"ready ones exist: only these",
       {near(1), draining(near(2)), gone(near(3)), far(1)},
       "10.244.1.1:8080 10.244.2.1:8080",
       "10.244.1.1:8080",
       "local/drop"},
      {"only draining ones here, ready ones elsewhere",
       {draining(near(1)), gone(near(2)), far(1)},
       "10.244.2.1:8080",
       "10.244.1.1:8080",
       "local/drop"},
      {"only draining ones, all elsewhere", {draining(far(1)), gone(far(2))}, "10.244.2.1:8080", "", "local/drop"},
      {"nobody serves", {gone(near(1)), gone(far(1))}, "", "", "local/reject"},
      {"the slice is gone", {}, "", "", "local/reject"},
  };
  for (const Case& each : cases) {
    const Service service = with_policies(TrafficPolicy::Cluster, TrafficPolicy::Local);
    const PortState port = resolved(service, {slice("a", each.endpoints)}).ports[0];
    EXPECT_EQ(places(port.cluster_endpoints), each.cluster) << each.name;
    EXPECT_EQ(places(port.local_endpoints), each.local) << each.name;
    EXPECT_EQ(serves(port, FrontendKind::NodePort), each.node_port) << each.name;
    EXPECT_EQ(serves(port, FrontendKind::ClusterIp), "cluster/reject") << each.name;
    // Under policy Cluster everybody gets the cluster set.
    const Service cluster = with_policies(TrafficPolicy::Cluster, TrafficPolicy::Cluster);
    const PortState same = resolved(cluster, {slice("a", each.endpoints)}).ports[0];
    EXPECT_EQ(places(same.cluster_endpoints), each.cluster) << each.name;
    EXPECT_EQ(serves(same, FrontendKind::NodePort), "cluster/reject") << each.name;
  }
}

TEST(Policy, FlowsMayStayWithWhateverServesWhateverThePolicyAndTheHints) {
  kube::Endpoint hinted = at("10.244.2.1");
  hinted.topology = kube::Topology{.node_name = "node2", .zone_hints = {"zone-b"}};
  kube::Endpoint published = gone(at("10.244.2.5"));
  published.ready = true;  // publishNotReadyAddresses
  const std::vector<EndpointSlice> slices{
      slice("a", {hinted, draining(at("10.244.2.2")), not_ready(at("10.244.2.3")), gone(at("10.244.2.4")), published})};
  const std::string serving = "10.244.2.1:8080 10.244.2.2:8080 10.244.2.5:8080";
  EXPECT_EQ(places(resolved(web(), slices).ports[0].serving_endpoints), serving);
  const Service local = with_policies(TrafficPolicy::Local, TrafficPolicy::Local);
  EXPECT_EQ(places(resolved(local, slices).ports[0].serving_endpoints), serving);
}

TEST(Policy, LoadBalancersAskForTheirHealthOnlyWhereItDiffersFromNodeToNode) {
  for (const ServiceType type : {ServiceType::ClusterIp, ServiceType::NodePort, ServiceType::LoadBalancer}) {
    for (const TrafficPolicy policy : {TrafficPolicy::Cluster, TrafficPolicy::Local}) {
      Service service = exposed_web(type);
      service.external_traffic_policy = policy;
      service.health_check_node_port = 31000;
      const bool asked = type == ServiceType::LoadBalancer && policy == TrafficPolicy::Local;
      EXPECT_EQ(resolved(service, {}).health_check_node_port, asked ? 31000 : 0);
    }
  }
}

}  // namespace
}  // namespace fairlead::proxy::model
