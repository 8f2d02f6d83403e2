#include "proxy/model/resolve.h"

#include <gtest/gtest.h>

#include <sstream>

namespace fairlead::proxy::model {
namespace {

using kube::EndpointSlice;
using kube::Service;
using net::Family;
using net::Ip;

const NodeView kNode{.name = "node1", .zone = "zone-a"};
constexpr std::uint16_t kPort = 80;
constexpr std::uint16_t kTarget = 8080;

Ip ip(std::string_view text) { return *Ip::parse(text); }

Service web() {
  Service service;
  service.meta.key = {"default", "web"};
  service.cluster_ips = {ip("10.96.0.1")};
  service.ip_families = {Family::V4};
  service.ports = {{"", Protocol::Tcp, kPort, 0}};
  return service;
}

Service dual_stack_web() {
  Service service = web();
  service.cluster_ips = {ip("10.96.0.1"), ip("fd00:10:96::1")};
  service.ip_families = {Family::V4, Family::V6};
  return service;
}

kube::Endpoint at(std::string_view address, std::string node = "node2") {
  kube::Endpoint endpoint;
  endpoint.address = ip(address);
  endpoint.node_name = std::move(node);
  return endpoint;
}
kube::Endpoint not_ready(kube::Endpoint endpoint) {
  endpoint.ready = endpoint.serving = false;
  return endpoint;
}
kube::Endpoint draining(kube::Endpoint endpoint) {
  endpoint.ready = false;
  endpoint.serving = endpoint.terminating = true;
  return endpoint;
}

EndpointSlice slice(std::string name, std::vector<kube::Endpoint> endpoints) {
  EndpointSlice out;
  out.meta.key = {"default", std::move(name)};
  out.service_name = "web";
  if (!endpoints.empty() && !endpoints.front().address.is_v4()) out.address_type = kube::AddressType::Ipv6;
  out.ports = {{"", Protocol::Tcp, kTarget}};
  out.endpoints = std::move(endpoints);
  return out;
}

ServiceState resolved(const Service& service, const std::vector<EndpointSlice>& slices, const NodeView& node = kNode) {
  std::vector<const EndpointSlice*> pointers;
  for (const EndpointSlice& one : slices) pointers.push_back(&one);
  return resolve(service, pointers, node);
}

Frontend cluster_ip(std::string_view address, std::uint16_t port = kPort) {
  return {.kind = FrontendKind::ClusterIp, .address = ip(address), .port = port};
}
Frontend from_outside(FrontendKind kind, const Ip& address, std::uint16_t port = kPort) {
  return {.kind = kind, .address = address, .port = port, .masquerade = Masquerade::Always};
}

TEST(Resolve, AClusterIpLeadsToItsReadyEndpoints) {
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

TEST(Resolve, EveryAddressFromOutsideIsMasqueradedAndSharesThePool) {
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

TEST(Resolve, AnAddressInTwoRolesIsOneFrontend) {
  Service service = web();
  service.external_ips = {ip("192.0.2.7"), ip("192.0.2.7"), ip("10.96.0.1")};
  service.load_balancer_ips = {ip("192.0.2.7")};
  const ServiceState state = resolved(service, {});
  EXPECT_EQ(state.ports[0].frontends,
            (std::vector<Frontend>{cluster_ip("10.96.0.1"), from_outside(FrontendKind::ExternalIp, ip("192.0.2.7"))}));
}

TEST(Resolve, DualStackIsOnePortPerFamilyEachWithItsOwnSlices) {
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

TEST(Resolve, TheFamiliesOfTheServiceDecideNotTheirOrder) {
  Service service = dual_stack_web();
  std::swap(service.cluster_ips[0], service.cluster_ips[1]);
  std::swap(service.ip_families[0], service.ip_families[1]);
  EXPECT_EQ(resolved(service, {}), resolved(dual_stack_web(), {}));
  service.ip_families = {Family::V6};
  ASSERT_EQ(resolved(service, {}).ports.size(), 1U);
  EXPECT_EQ(resolved(service, {}).ports[0].family, Family::V6);
}

TEST(Resolve, WithoutIpFamiliesOnlyTheFirstClusterIpCounts) {
  Service service = dual_stack_web();
  service.ip_families.clear();
  ASSERT_EQ(resolved(service, {}).ports.size(), 1U);
  EXPECT_EQ(resolved(service, {}).ports[0].family, Family::V4);
}

TEST(Resolve, PortsMatchByNameAndProtocol) {
  Service service = web();
  service.ports = {{"dns", Protocol::Udp, 53, 0}, {"dns-tcp", Protocol::Tcp, 53, 0}, {"sig", Protocol::Sctp, 36412, 0}};
  EndpointSlice endpoints = slice("a", {at("10.244.1.10")});
  endpoints.ports = {{"dns-tcp", Protocol::Tcp, 5354}, {"dns", Protocol::Udp, 5353}, {"sig", Protocol::Tcp, 1}};
  const ServiceState state = resolved(service, {endpoints});
  ASSERT_EQ(state.ports.size(), 3U);
  EXPECT_EQ(state.ports[0].cluster_endpoints, (std::vector<Endpoint>{{ip("10.244.1.10"), 5353, false}}));
  EXPECT_EQ(state.ports[1].cluster_endpoints, (std::vector<Endpoint>{{ip("10.244.1.10"), 5354, false}}));
  EXPECT_EQ(state.ports[2].cluster_endpoints, std::vector<Endpoint>());  // TCP is not SCTP
  EXPECT_EQ(state.ports[2].frontends[0].when_empty, WhenEmpty::Reject);
  EXPECT_EQ(state.counts.total, 1U);
}

TEST(Resolve, APortMayHaveAnotherNumberInEachSlice) {
  EndpointSlice other = slice("b", {at("10.244.2.10")});
  other.ports[0].port = 9090;
  EndpointSlice without = slice("c", {at("10.244.3.10")});
  without.ports[0].port = 0;
  const ServiceState state = resolved(web(), {slice("a", {at("10.244.1.10")}), other, without});
  EXPECT_EQ(state.ports[0].cluster_endpoints,
            (std::vector<Endpoint>{{ip("10.244.1.10"), kTarget, false}, {ip("10.244.2.10"), 9090, false}}));
}

TEST(Resolve, OfDuplicatesTheLaterCountsUnlessItTerminates) {
  const auto endpoints = [](const std::vector<EndpointSlice>& slices) {
    return resolved(web(), slices).ports[0].cluster_endpoints;
  };
  const std::vector<Endpoint> here = {{ip("10.244.1.10"), kTarget, true}};
  const EndpointSlice old_pod = slice("a", {at("10.244.1.10", "node2")});
  const EndpointSlice new_pod = slice("b", {at("10.244.1.10", "node1")});
  EXPECT_EQ(endpoints({old_pod, new_pod}), here);
  EXPECT_EQ(endpoints({new_pod, old_pod}), here);  // by name, not by the order they are passed in
  const EndpointSlice leaving = slice("c", {draining(at("10.244.1.10", "node2"))});
  EXPECT_EQ(endpoints({new_pod, leaving}), here);
  EXPECT_EQ(endpoints({slice("a", {draining(at("10.244.1.10"))}), new_pod}), here);
  const EndpointSlice down = slice("c", {not_ready(at("10.244.1.10"))});
  EXPECT_EQ(endpoints({new_pod, down}), std::vector<Endpoint>());
}

TEST(Resolve, AbsentConditionsMeanReady) {
  kube::Endpoint explicit_ready = at("10.244.1.11");
  explicit_ready.ready = true;
  const ServiceState state =
      resolved(web(), {slice("a", {at("10.244.1.10"), explicit_ready, not_ready(at("10.244.1.12"))})});
  EXPECT_EQ(state.ports[0].cluster_endpoints.size(), 2U);
  EXPECT_EQ(state.counts, (EndpointCounts{0, 2, 3}));
}

TEST(Resolve, PublishNotReadyAddressesActsThroughTheSlices) {
  Service service = web();
  service.publish_not_ready_addresses = true;
  kube::Endpoint published = draining(at("10.244.1.10"));
  published.ready = true;  // as the controller writes it
  published.serving = false;
  const auto state = resolved(service, {slice("a", {published, not_ready(at("10.244.1.11"))})});
  EXPECT_EQ(state.ports[0].cluster_endpoints, (std::vector<Endpoint>{{ip("10.244.1.10"), kTarget, false}}));
}

TEST(Resolve, DrainingEndpointsServeOnlyWhenNoneIsReady) {
  EXPECT_EQ(resolved(web(), {slice("a", {draining(at("10.244.1.10")), not_ready(at("10.244.1.11"))})})
                .ports[0]
                .cluster_endpoints,
            (std::vector<Endpoint>{{ip("10.244.1.10"), kTarget, false}}));
  EXPECT_EQ(resolved(web(), {slice("a", {draining(at("10.244.1.10")), at("10.244.1.11")})}).ports[0].cluster_endpoints,
            (std::vector<Endpoint>{{ip("10.244.1.11"), kTarget, false}}));
}

TEST(Resolve, HeadlessAndExternalNameAndUnassignedServicesYieldNothing) {
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

TEST(Resolve, SlicesOfOtherAddressTypesAndStrayAddressesAreIgnored) {
  EndpointSlice fqdn = slice("a", {at("10.244.1.10")});
  fqdn.address_type = kube::AddressType::Fqdn;
  EndpointSlice confused = slice("b", {at("10.244.1.11")});
  confused.endpoints.push_back(at("fd00::1"));
  EXPECT_EQ(resolved(web(), {fqdn, confused}).ports[0].cluster_endpoints,
            (std::vector<Endpoint>{{ip("10.244.1.11"), kTarget, false}}));
  EXPECT_EQ(resolved(web(), {fqdn, confused}).counts.total, 1U);
}

TEST(Resolve, InternalTrafficPolicyLocalKeepsClusterIpTrafficOnTheNode) {
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

TEST(Resolve, ZoneHintsHoldWhenEveryReadyEndpointHasOneAndSomeAreForUs) {
  kube::Endpoint ours = at("10.244.1.10");
  ours.zone_hints = {"zone-a"};
  kube::Endpoint theirs = at("10.244.2.10");
  theirs.zone_hints = {"zone-b"};
  const auto chosen = [](const std::vector<kube::Endpoint>& endpoints, const NodeView& node) {
    return resolved(web(), {slice("a", endpoints)}, node).ports[0].cluster_endpoints.size();
  };
  EXPECT_EQ(chosen({ours, theirs}, kNode), 1U);
  EXPECT_EQ(chosen({ours, theirs}, {"node1", ""}), 2U);
  EXPECT_EQ(chosen({ours, theirs}, {"node1", "zone-c"}), 2U);
  EXPECT_EQ(chosen({ours, theirs, at("10.244.3.10")}, kNode), 3U);
  theirs.node_hints = {"node1"};
  EXPECT_EQ(chosen({ours, theirs}, kNode), 1U);  // one has no node hint: the zones decide
  ours.node_hints = {"node9"};
  EXPECT_EQ(resolved(web(), {slice("a", {ours, theirs})}).ports[0].cluster_endpoints,
            (std::vector<Endpoint>{{ip("10.244.2.10"), kTarget, false}}));
}

TEST(Resolve, CountsArePeoplesNumbersByDistinctAddress) {
  Service service = web();
  service.ports = {{"a", Protocol::Tcp, 80, 0}, {"b", Protocol::Tcp, 81, 0}};
  EndpointSlice first = slice("a", {at("10.244.1.10", "node1"), not_ready(at("10.244.1.11", "node1"))});
  first.ports = {{"a", Protocol::Tcp, 1}, {"b", Protocol::Tcp, 2}};
  const EndpointSlice second = slice("b", {at("10.244.1.10", "node1"), at("10.244.2.10")});
  EXPECT_EQ(resolved(service, {first, second}).counts, (EndpointCounts{1, 2, 3}));
}

TEST(ResolveChanges, CarriesOnlyTheServicesThatAreDirty) {
  kube::Store store;
  store.upsert(web());
  Service other = web();
  other.meta.key.name = "other";
  store.upsert(other);
  Changes changes = resolve_changes(store, store.take_dirty(), kNode);
  EXPECT_EQ(changes, (Changes{resolve_all(store, kNode), {}}));

  store.upsert(slice("a", {at("10.244.1.10")}));
  store.erase(kube::Kind::Service, other.meta.key);
  changes = resolve_changes(store, store.take_dirty(), kNode);
  EXPECT_EQ(changes, (Changes{{resolved(web(), {slice("a", {at("10.244.1.10")})})}, {other.meta.key}}));
  EXPECT_TRUE(resolve_changes(store, store.take_dirty(), kNode).empty());
}

TEST(ResolveChanges, ResolvesEverythingWhenTheNodeChanged) {
  kube::Store store;
  store.upsert(web());
  (void)store.take_dirty();
  kube::Node node;
  node.meta.key.name = "node1";
  node.labels[std::string(kube::kZoneLabel)] = "zone-a";
  store.upsert(node);
  const kube::Dirty dirty = store.take_dirty();
  EXPECT_EQ(resolve_changes(store, dirty, node_view(store, "node1")).upserted.size(), 1U);
  EXPECT_EQ(node_view(store, "node1"), kNode);
  EXPECT_EQ(node_view(kube::Store(), "node1"), (NodeView{.name = "node1", .zone = ""}));
}

TEST(ServiceState, ReadsWellInATestFailure) {
  Service service = web();
  service.ports[0].node_port = 30080;
  std::ostringstream out;
  out << resolved(service, {slice("a", {at("10.244.1.10", "node1")})});
  EXPECT_EQ(
      out.str(),
      "default/web ClusterIP endpoints 1/1/1\n"
      "  {\"\" TCP IPv4, ClusterIP 10.96.0.1:80, NodePort 30080 masquerade always: cluster=[10.244.1.10:8080(local)]}");
}

}  // namespace
}  // namespace fairlead::proxy::model
