// Which endpoints a service port has.
#include <gtest/gtest.h>

#include "proxy/model/test_objects.h"

namespace fairlead::proxy::model {
namespace {

using namespace test;

TEST(Endpoints, PortsMatchByNameAndProtocol) {
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

TEST(Endpoints, APortMayHaveAnotherNumberInEachSlice) {
  EndpointSlice other = slice("b", {at("10.244.2.10")});
  other.ports[0].port = 9090;
  EndpointSlice without = slice("c", {at("10.244.3.10")});
  without.ports[0].port = 0;
  const ServiceState state = resolved(web(), {slice("a", {at("10.244.1.10")}), other, without});
  EXPECT_EQ(state.ports[0].cluster_endpoints,
            (std::vector<Endpoint>{{ip("10.244.1.10"), kTarget, false}, {ip("10.244.2.10"), 9090, false}}));
}

TEST(Endpoints, OfDuplicatesTheLaterCountsUnlessItTerminates) {
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

TEST(Endpoints, AbsentConditionsMeanReady) {
  kube::Endpoint explicit_ready = at("10.244.1.11");
  explicit_ready.ready = true;
  const ServiceState state =
      resolved(web(), {slice("a", {at("10.244.1.10"), explicit_ready, not_ready(at("10.244.1.12"))})});
  EXPECT_EQ(state.ports[0].cluster_endpoints.size(), 2U);
  EXPECT_EQ(state.counts, (EndpointCounts{0, 2, 3}));
}

TEST(Endpoints, PublishNotReadyAddressesActsThroughTheSlices) {
  Service service = web();
  service.publish_not_ready_addresses = true;
  kube::Endpoint published = draining(at("10.244.1.10"));
  published.ready = true;  // as the controller writes it
  published.serving = false;
  const auto state = resolved(service, {slice("a", {published, not_ready(at("10.244.1.11"))})});
  EXPECT_EQ(state.ports[0].cluster_endpoints, (std::vector<Endpoint>{{ip("10.244.1.10"), kTarget, false}}));
}

TEST(Endpoints, DrainingEndpointsServeOnlyWhenNoneIsReady) {
  EXPECT_EQ(resolved(web(), {slice("a", {draining(at("10.244.1.10")), not_ready(at("10.244.1.11"))})})
                .ports[0]
                .cluster_endpoints,
            (std::vector<Endpoint>{{ip("10.244.1.10"), kTarget, false}}));
  EXPECT_EQ(resolved(web(), {slice("a", {draining(at("10.244.1.10")), at("10.244.1.11")})}).ports[0].cluster_endpoints,
            (std::vector<Endpoint>{{ip("10.244.1.11"), kTarget, false}}));
}

TEST(Endpoints, SlicesOfOtherAddressTypesAndStrayAddressesAreIgnored) {
  EndpointSlice fqdn = slice("a", {at("10.244.1.10")});
  fqdn.address_type = kube::AddressType::Fqdn;
  EndpointSlice confused = slice("b", {at("10.244.1.11")});
  confused.endpoints.push_back(at("fd00::1"));
  EXPECT_EQ(resolved(web(), {fqdn, confused}).ports[0].cluster_endpoints,
            (std::vector<Endpoint>{{ip("10.244.1.11"), kTarget, false}}));
  EXPECT_EQ(resolved(web(), {fqdn, confused}).counts.total, 1U);
}

TEST(Endpoints, CountsArePeoplesNumbersByDistinctAddress) {
  Service service = web();
  service.ports = {{"a", Protocol::Tcp, 80, 0}, {"b", Protocol::Tcp, 81, 0}};
  EndpointSlice first = slice("a", {at("10.244.1.10", "node1"), not_ready(at("10.244.1.11", "node1"))});
  first.ports = {{"a", Protocol::Tcp, 1}, {"b", Protocol::Tcp, 2}};
  EndpointSlice second = slice("b", {at("10.244.1.10", "node1"), at("10.244.2.10")});
  second.ports = {{"b", Protocol::Tcp, 2}};
  EXPECT_EQ(resolved(service, {first, second}).counts, (EndpointCounts{1, 2, 3}));
}

TEST(Endpoints, ASliceWithoutAPortOfTheServiceServesNobodyAndCountsForNobody) {
  // The controller keeps pods that have no such named port in a slice of their own, without ports.
  EndpointSlice portless = slice("b", {at("10.244.1.11", "node1")});
  portless.ports.clear();
  EndpointSlice all_ports = slice("c", {at("10.244.1.12", "node1")});
  all_ports.ports[0].port = 0;
  EndpointSlice other_port = slice("d", {at("10.244.1.13", "node1")});
  other_port.ports[0].name = "other";
  const ServiceState state = resolved(web(), {slice("a", {at("10.244.2.10")}), portless, all_ports, other_port});
  EXPECT_EQ(places(state.ports[0].cluster_endpoints), "10.244.2.10:8080");
  EXPECT_EQ(state.counts, (EndpointCounts{0, 1, 1})) << "a load balancer must not be told that there are some here";
}

TEST(Endpoints, TerminatingOnesDoNotCountForLoadBalancers) {
  const ServiceState state =
      resolved(web(), {slice("a", {draining(at("10.244.1.10", "node1")), at("10.244.2.10", "node2")})});
  EXPECT_EQ(state.counts, (EndpointCounts{0, 1, 2}));
}

TEST(Endpoints, OneOnThisNodeNamesIt) {
  const PortState port =
      resolved(web(), {slice("a", {at("10.244.1.10", "node1"), at("10.244.1.11", ""), at("10.244.1.12", "node10")})})
          .ports[0];
  EXPECT_EQ(port.cluster_endpoints,
            (std::vector<Endpoint>{
                {ip("10.244.1.10"), kTarget, true}, {ip("10.244.1.11"), kTarget}, {ip("10.244.1.12"), kTarget}}));
}

TEST(Endpoints, EveryCombinationOfConditions) {
  constexpr std::optional<bool> kValues[] = {std::nullopt, true, false};
  for (const auto ready : kValues) {
    for (const auto serving : kValues) {
      for (const auto terminating : kValues) {
        kube::Endpoint endpoint = at("10.244.1.10");
        endpoint.ready = ready;
        endpoint.serving = serving;
        endpoint.terminating = terminating;
        const PortState port = resolved(web(), {slice("a", {endpoint})}).ports[0];
        const bool serves = serving.value_or(true);
        const bool used = ready.value_or(true) || (serves && terminating.value_or(false));
        EXPECT_EQ(port.cluster_endpoints.size(), used ? 1U : 0U);
        EXPECT_EQ(port.serving_endpoints.size(), ready.value_or(true) || serves ? 1U : 0U);
      }
    }
  }
}

}  // namespace
}  // namespace fairlead::proxy::model
