// Which addresses and ports lead to a service.
#include <gtest/gtest.h>

#include "proxy/model/test_objects.h"

namespace fairlead::proxy::model {
namespace {

using namespace test;

TEST(Frontends, AClusterIpLeadsToItsReadyEndpoints) {
  const ServiceState state = resolved(web(), {slice("a", {at("10.244.2.10"), at("10.244.1.10", "node1")})});
  ServiceState expected;
  expected.key = {"default", "web"};
  PortState& port = expected.ports.emplace_back();
  port.frontends = {cluster_ip("10.96.0.1")};
  port.cluster_endpoints = {{ip("10.244.1.10"), kTarget, true}, {ip("10.244.2.10"), kTarget, false}};
  port.serving_endpoints = port.cluster_endpoints;
  expected.counts = {1, 2, 2};
  EXPECT_EQ(state, expected);
}

TEST(Frontends, EveryAddressFromOutsideIsMasqueradedAndSharesThePool) {
  Service service = web();
  service.type = kube::ServiceType::LoadBalancer;
  service.ports[0].node_port = 30080;
  service.external_ips = {ip("192.0.2.7"), ip("2001:db8::7")};
  service.load_balancer_ips = {ip("198.51.100.9")};
  const ServiceState state = resolved(service, {slice("a", {at("10.244.1.10")})});
  ASSERT_EQ(state.ports.size(), 1U);  // no clusterIP of IPv6: the IPv6 external address leads nowhere
  EXPECT_EQ(state.ports[0].frontends,
            (std::vector<Frontend>{cluster_ip("10.96.0.1"), from_outside(FrontendKind::NodePort, Ip(), 30080),
                                   from_outside(FrontendKind::ExternalIp, ip("192.0.2.7")),
                                   from_outside(FrontendKind::LoadBalancerIp, ip("198.51.100.9"))}));
}

TEST(Frontends, AnAddressInTwoRolesIsOneFrontend) {
  Service service = web();
  service.external_ips = {ip("192.0.2.7"), ip("192.0.2.7"), ip("10.96.0.1")};
  service.load_balancer_ips = {ip("192.0.2.7")};
  const ServiceState state = resolved(service, {});
  EXPECT_EQ(state.ports[0].frontends,
            (std::vector<Frontend>{cluster_ip("10.96.0.1"), from_outside(FrontendKind::ExternalIp, ip("192.0.2.7"))}));
}

TEST(Frontends, DualStackIsOnePortPerFamilyEachWithItsOwnSlices) {
  Service service = dual_stack_web();
  service.ports[0].node_port = 30080;
  const ServiceState state =
      resolved(service, {slice("a", {at("10.244.1.10")}), slice("b", {at("fd00:10:244:1::10")})});
  ASSERT_EQ(state.ports.size(), 2U);
  EXPECT_EQ(state.ports[0].family, Family::V4);
  EXPECT_EQ(state.ports[0].cluster_endpoints, (std::vector<Endpoint>{{ip("10.244.1.10"), kTarget, false}}));
  EXPECT_EQ(state.ports[1].family, Family::V6);
  EXPECT_EQ(state.ports[1].frontends,
            (std::vector<Frontend>{cluster_ip("fd00:10:96::1"), from_outside(FrontendKind::NodePort, Ip(), 30080)}));
  EXPECT_EQ(state.ports[1].cluster_endpoints, (std::vector<Endpoint>{{ip("fd00:10:244:1::10"), kTarget, false}}));
  EXPECT_EQ(state.counts, (EndpointCounts{0, 1, 1}));
}

TEST(Frontends, TheFamiliesOfTheServiceDecideNotTheirOrder) {
  Service service = dual_stack_web();
  std::swap(service.cluster_ips[0], service.cluster_ips[1]);
  std::swap(service.ip_families[0], service.ip_families[1]);
  EXPECT_EQ(resolved(service, {}), resolved(dual_stack_web(), {}));
  service.ip_families = {Family::V6};
  ASSERT_EQ(resolved(service, {}).ports.size(), 1U);
  EXPECT_EQ(resolved(service, {}).ports[0].family, Family::V6);
}

TEST(Frontends, WithoutIpFamiliesOnlyTheFirstClusterIpCounts) {
  Service service = dual_stack_web();
  service.ip_families.clear();
  ASSERT_EQ(resolved(service, {}).ports.size(), 1U);
  EXPECT_EQ(resolved(service, {}).ports[0].family, Family::V4);
}

TEST(Frontends, HeadlessAndExternalNameAndUnassignedServicesYieldNothing) {
  const std::vector<EndpointSlice> slices = {slice("a", {at("10.244.1.10")})};
  Service headless = web();
  headless.headless = true;
  Service external_name = web();
  external_name.type = kube::ServiceType::ExternalName;
  Service unassigned = web();
  unassigned.cluster_ips.clear();
  for (const Service& service : {headless, external_name, unassigned}) {
    ServiceState nothing;
    nothing.key = service.meta.key;
    nothing.type = service.type;
    EXPECT_EQ(resolved(service, slices), nothing);
  }
}

TEST(Frontends, ANodePortOrAddressIsHonouredByPresenceWhateverTheType) {
  for (const ServiceType type : {ServiceType::ClusterIp, ServiceType::NodePort, ServiceType::LoadBalancer}) {
    EXPECT_EQ(resolved(exposed_web(type), {}).ports[0].frontends.size(), 4U);
  }
}

TEST(Frontends, ExternalIpsMayBeSwitchedOff) {
  NodeView node = kNode;
  node.config.external_ips = false;
  const PortState port = resolved(exposed_web(), {}, node).ports[0];
  EXPECT_EQ(port.frontends.size(), 3U);
  EXPECT_EQ(frontend_of(port, FrontendKind::ExternalIp).port, 0) << "there is none";
}

TEST(Frontends, EachFamilyHasTheAddressesOfItsOwn) {
  Service service = dual_stack_web();
  service.external_ips = {ip("192.0.2.7"), ip("2001:db8::7")};
  service.load_balancer_ips = {ip("2001:db8::9"), ip("198.51.100.9")};
  const ServiceState state = resolved(service, {});
  EXPECT_EQ(state.ports[0].frontends,
            (std::vector<Frontend>{cluster_ip("10.96.0.1"), from_outside(FrontendKind::ExternalIp, ip("192.0.2.7")),
                                   from_outside(FrontendKind::LoadBalancerIp, ip("198.51.100.9"))}));
  EXPECT_EQ(
      state.ports[1].frontends,
      (std::vector<Frontend>{cluster_ip("fd00:10:96::1"), from_outside(FrontendKind::ExternalIp, ip("2001:db8::7")),
                             from_outside(FrontendKind::LoadBalancerIp, ip("2001:db8::9"))}));
}

TEST(Frontends, AServiceWithoutPortsYieldsNothing) {
  Service service = web();
  service.ports.clear();
  EXPECT_TRUE(resolved(service, {slice("a", {at("10.244.1.10")})}).ports.empty());
}

TEST(Frontends, TcpUdpAndSctpMayShareANumber) {
  Service service = web();
  service.ports = {{"t", Protocol::Tcp, 53, 30053}, {"u", Protocol::Udp, 53, 30053}, {"s", Protocol::Sctp, 53, 30053}};
  const ServiceState state = resolved(service, {});
  ASSERT_EQ(state.ports.size(), 3U);
  for (const PortState& port : state.ports) EXPECT_EQ(port.frontends.size(), 2U);
}

TEST(Affinity, IsOfEachPortAndOnlyForClientIp) {
  Service service = dual_stack_web();
  service.affinity_timeout_seconds = 60;
  for (const PortState& port : resolved(service, {}).ports) EXPECT_EQ(port.affinity_seconds, 0U);
  service.session_affinity = kube::SessionAffinity::ClientIp;
  for (const PortState& port : resolved(service, {}).ports) EXPECT_EQ(port.affinity_seconds, 60U);
}

// ---- who is masqueraded ----

struct Detector {
  std::string name;
  NodeView node;
  bool v4 = false;  // tells pods of that family from strangers
  bool v6 = false;
};

std::vector<Detector> detectors() {
  const auto with = [](DetectLocal mode) {
    NodeView node = kNode;
    node.config.detect_local = mode;
    return node;
  };
  NodeView cluster_cidr = with(DetectLocal::ClusterCidr);
  cluster_cidr.config.cluster_cidrs = {prefix("10.244.0.0/16")};
  NodeView both_cidrs = cluster_cidr;
  both_cidrs.config.cluster_cidrs.push_back(prefix("fd00:10:244::/48"));
  NodeView node_cidr = with(DetectLocal::NodeCidr);
  node_cidr.pod_cidrs = {prefix("fd00:10:244:1::/64")};
  NodeView bridge = with(DetectLocal::BridgeInterface);
  bridge.config.local_interface = "cni0";
  NodeView by_name = with(DetectLocal::InterfaceNamePrefix);
  by_name.config.local_interface = "veth";
  return {{"ClusterCIDR, none given", with(DetectLocal::ClusterCidr), false, false},
          {"ClusterCIDR of IPv4", cluster_cidr, true, false},
          {"ClusterCIDR of both", both_cidrs, true, true},
          {"NodeCIDR, not assigned yet", with(DetectLocal::NodeCidr), false, false},
          {"NodeCIDR of IPv6", node_cidr, false, true},
          {"BridgeInterface", bridge, true, true},
          {"InterfaceNamePrefix", by_name, true, true}};
}

TEST(Masquerading, OfClusterIpsIsForStrangersWhereTheyCanBeTold) {
  for (const Detector& detector : detectors()) {
    const ServiceState state = resolved(dual_stack_web(), {}, detector.node);
    for (const PortState& port : state.ports) {
      const bool told = port.family == Family::V4 ? detector.v4 : detector.v6;
      EXPECT_EQ(port.frontends[0].masquerade, told ? Masquerade::OffCluster : Masquerade::Never) << detector.name;
      EXPECT_EQ(tells_pods(detector.node, port.family), told) << detector.name;
      EXPECT_EQ(node_state(detector.node).pods.known(port.family), told) << detector.name;
    }
  }
}

TEST(Masquerading, OfClusterIpsIsForEverybodyWhenAskedFor) {
  for (Detector detector : detectors()) {
    detector.node.config.masquerade_all = true;
    for (const TrafficPolicy internal : {TrafficPolicy::Cluster, TrafficPolicy::Local}) {
      Service service = exposed_web();
      service.internal_traffic_policy = internal;
      service.external_traffic_policy = TrafficPolicy::Local;
      const PortState port = resolved(service, {}, detector.node).ports[0];
      for (const Frontend& frontend : port.frontends) {
        const bool is_internal = frontend.kind == FrontendKind::ClusterIp;
        EXPECT_EQ(frontend.masquerade, is_internal ? Masquerade::Always : Masquerade::Never)
            << detector.name << ": it does not reach clients from outside that are served locally";
      }
    }
  }
}

TEST(Masquerading, FromOutsideIsForEverybodyButUnderPolicyLocal) {
  for (const Detector& detector : detectors()) {
    for (const TrafficPolicy external : {TrafficPolicy::Cluster, TrafficPolicy::Local}) {
      Service service = exposed_web();
      service.external_traffic_policy = external;
      const PortState port = resolved(service, {}, detector.node).ports[0];
      for (const Frontend& frontend : port.frontends) {
        if (frontend.kind == FrontendKind::ClusterIp) continue;
        const bool local = external == TrafficPolicy::Local;
        EXPECT_EQ(frontend.masquerade, local ? Masquerade::Never : Masquerade::Always) << detector.name;
      }
    }
  }
}

}  // namespace
}  // namespace fairlead::proxy::model
