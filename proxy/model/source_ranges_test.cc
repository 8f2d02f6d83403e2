// spec.loadBalancerSourceRanges: who may use a load balancer's addresses.
#include <gtest/gtest.h>

#include "proxy/model/test_objects.h"

namespace fairlead::proxy::model {
namespace {

using namespace test;
using Prefixes = std::vector<Prefix>;

NodeView node_at(const std::vector<std::string>& addresses) {
  NodeView node = kNode;
  for (const std::string& address : addresses) node.addresses.push_back(ip(address));
  return node;
}
Service restricted_to(Prefixes ranges) {
  Service service = exposed_web();
  service.load_balancer_source_ranges = std::move(ranges);
  return service;
}

TEST(SourceRanges, RestrictTheLoadBalancersAddressesAndNothingElse) {
  const PortState port = resolved(restricted_to({prefix("203.0.113.0/24")}), {}).ports[0];
  for (const Frontend& frontend : port.frontends) {
    EXPECT_EQ(frontend.restricted, frontend.kind == FrontendKind::LoadBalancerIp) << frontend;
  }
  EXPECT_EQ(port.allowed_sources, Prefixes{prefix("203.0.113.0/24")});
}

TEST(SourceRanges, AreSortedAndEachOnce) {
  const Prefixes given{prefix("203.0.113.0/24"), prefix("192.0.2.0/24"), prefix("203.0.113.0/24")};
  EXPECT_EQ(resolved(restricted_to(given), {}).ports[0].allowed_sources,
            (Prefixes{prefix("192.0.2.0/24"), prefix("203.0.113.0/24")}));
}

TEST(SourceRanges, WithoutAnyOrWithEverythingNobodyIsKeptOut) {
  for (const Prefixes& ranges : {Prefixes{}, {prefix("0.0.0.0/0")}, {prefix("203.0.113.0/24"), prefix("0.0.0.0/0")}}) {
    const PortState port = resolved(restricted_to(ranges), {}).ports[0];
    EXPECT_FALSE(frontend_of(port, FrontendKind::LoadBalancerIp).restricted);
    EXPECT_EQ(port.allowed_sources, Prefixes{});
  }
}

TEST(SourceRanges, AServiceWithoutALoadBalancerHasNobodyToAllow) {
  Service service = web();
  service.load_balancer_source_ranges = {prefix("203.0.113.0/24")};
  EXPECT_EQ(resolved(service, {}).ports[0].allowed_sources, Prefixes{});
}

TEST(SourceRanges, ThatTakeInTheNodeLetTheLoadBalancersOwnAddressesIn) {
  Service service = restricted_to({prefix("172.18.0.0/16")});
  service.load_balancer_ips.push_back(ip("198.51.100.10"));
  EXPECT_EQ(resolved(service, {}, node_at({"172.18.0.1"})).ports[0].allowed_sources,
            (Prefixes{prefix("172.18.0.0/16"), prefix("198.51.100.9/32"), prefix("198.51.100.10/32")}));
  EXPECT_EQ(resolved(service, {}, node_at({"10.0.0.1"})).ports[0].allowed_sources, Prefixes{prefix("172.18.0.0/16")});
}

TEST(SourceRanges, AnExternalIpThatIsALoadBalancersToo) {
  Service service = restricted_to({prefix("203.0.113.0/24")});
  service.external_ips = service.load_balancer_ips;
  const PortState port = resolved(service, {}).ports[0];
  EXPECT_TRUE(frontend_of(port, FrontendKind::ExternalIp).restricted);
}

// docs/adr/0015
TEST(SourceRanges, OfOneFamilyCloseTheOtherUnlessTheyTakeInEverybody) {
  Service service = dual_stack_web();
  service.load_balancer_ips = {ip("198.51.100.9"), ip("2001:db8::9")};
  const auto restricted = [&](const Prefixes& ranges) {
    service.load_balancer_source_ranges = ranges;
    std::string out;
    for (const PortState& port : resolved(service, {}).ports) {
      const bool closed = frontend_of(port, FrontendKind::LoadBalancerIp).restricted;
      out += closed ? (port.allowed_sources.empty() ? "closed " : "restricted ") : "open ";
    }
    return out;
  };
  EXPECT_EQ(restricted({prefix("203.0.113.0/24")}), "restricted closed ");
  EXPECT_EQ(restricted({prefix("2001:db8:1::/48")}), "closed restricted ");
  EXPECT_EQ(restricted({prefix("0.0.0.0/0")}), "open open ");
  EXPECT_EQ(restricted({prefix("::/0")}), "open open ");
  EXPECT_EQ(restricted({prefix("0.0.0.0/0"), prefix("2001:db8:1::/48")}), "open restricted ");
  EXPECT_EQ(restricted({prefix("203.0.113.0/24"), prefix("2001:db8:1::/48")}), "restricted restricted ");
}

}  // namespace
}  // namespace fairlead::proxy::model
