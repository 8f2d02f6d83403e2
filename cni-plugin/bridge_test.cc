// What of the bridge plugin, and of the containers' ends, is decided without a kernel.
#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "cni-plugin/bridge_plan.h"
#include "cni-plugin/bridge_vlan.h"
#include "cni-plugin/container_link.h"
#include "cni-plugin/ipvlan_config.h"
#include "cni-plugin/testing.h"

namespace fairlead::cni::testing {
namespace {

net::InterfaceAddress address(std::string_view text) { return *net::InterfaceAddress::parse(text); }
net::Ip ip(std::string_view text) { return *net::Ip::parse(text); }
net::Prefix prefix(std::string_view text) { return *net::Prefix::parse(text); }

Call call_of(std::string_view config) {
  Call call;
  call.config = json(config);
  return call;
}

TEST(BridgeConfig, WithoutAnyKeyIsTheReferencePlugins) {
  EXPECT_EQ(*parse_bridge_config(call_of("{}")), (BridgeConfig{}));
  EXPECT_EQ(BridgeConfig{}.bridge, "cni0");
  EXPECT_TRUE(BridgeConfig{}.preserve_default_vlan);
}

TEST(BridgeConfig, ADefaultGatewayIsAGateway) {
  EXPECT_TRUE(parse_bridge_config(call_of(R"({"isDefaultGateway":true})"))->is_gateway);
}

TEST(BridgeConfig, ATrunkIsInOrderWithoutOverlap) {
  const auto config = parse_bridge_config(
      call_of(R"({"vlan":5,"vlanTrunk":[{"id":300},{"minID":100,"maxID":200,"id":7},{"minID":150,"maxID":299}]})"));
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->trunk, (std::vector<net::VlanRange>{{7, 7}, {100, 300}}));
  EXPECT_TRUE(config->filters_vlans());
}

TEST(BridgeConfig, TheRuntimesMacGoesBeforeTheArgumentsMacBeforeTheVariables) {
  Call call = call_of(R"({"args":{"cni":{"mac":"02:00:00:00:00:02"}},"runtimeConfig":{"mac":"02:00:00:00:00:01"}})");
  call.args["MAC"] = "02:00:00:00:00:03";
  const auto mac = [&] { return net::to_string(*parse_bridge_config(call)->mac); };
  EXPECT_EQ(mac(), "02:00:00:00:00:01");
  call.config = json(R"({"args":{"cni":{"mac":"02:00:00:00:00:02"}}})");
  EXPECT_EQ(mac(), "02:00:00:00:00:02");
  call.config = json("{}");
  EXPECT_EQ(mac(), "02:00:00:00:00:03");
}

struct Refusal {
  const char* config;
  const char* message;
};
void PrintTo(const Refusal& row, std::ostream* out) { *out << row.config; }
class BridgeConfigRefused : public ::testing::TestWithParam<Refusal> {};
TEST_P(BridgeConfigRefused, NamesWhatIsWrong) {
  const auto config = parse_bridge_config(call_of(GetParam().config));
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().message(), GetParam().message);
}
INSTANTIATE_TEST_SUITE_P(
    Rows, BridgeConfigRefused,
    ::testing::Values(
        Refusal{R"({"hairpinMode":true,"promiscMode":true})",
                "promiscMode: cannot be set together with hairpinMode: each does the other's work"},
        Refusal{R"({"disableContainerInterface":true,"ipam":{"type":"static"}})",
                "disableContainerInterface: cannot be set together with ipam: a link that is down has no use for "
                "addresses"},
        Refusal{R"({"bridge":"a-name-of-16-byte"})", "bridge: \"a-name-of-16-byte\" is longer than 15 bytes"},
        Refusal{R"({"mtu":67})", "mtu: 67 is too small; allowed is 68 to 65535, or 0"},
        Refusal{R"({"vlanTrunk":[{"minID":5}]})", "vlanTrunk[0].maxID: is missing beside minID"},
        Refusal{R"({"vlanTrunk":[{"minID":5,"maxID":4}]})", "vlanTrunk[0].minID: 5 is greater than maxID (4)"},
        Refusal{R"({"runtimeConfig":{"mac":"magic"}})",
                "runtimeConfig.mac: \"magic\" is not a MAC address (02:00:00:00:00:01)"},
        Refusal{R"({"args":{"cni":{"mac":"03:00:00:00:00:01"}}})",
                "args.cni.mac: \"03:00:00:00:00:01\" is a group's address; an interface's has an even first byte"}));

NetResult dual_stack() {
  NetResult result;
  result.ips = {{.address = address("10.1.0.5/24")}, {.address = address("fd00:1::5/64")}};
  return result;
}

TEST(Gateways, AreTheFirstOfTheSubnetWhereIpamGaveNone) {
  NetResult result = dual_stack();
  result.ips[1].gateway = ip("fd00:1::99");
  const GatewayPlan plan = plan_gateways({.is_gateway = true}, result);
  EXPECT_EQ(plan.addresses, (std::vector{address("10.1.0.1/24"), address("fd00:1::99/64")}));
  EXPECT_EQ(result.ips[0].gateway, ip("10.1.0.1"));
  EXPECT_TRUE(result.routes.empty());
}

TEST(Gateways, AreNotWhereTheBridgeIsNone) {
  NetResult result = dual_stack();
  EXPECT_EQ(plan_gateways({}, result), GatewayPlan{});
  EXPECT_EQ(result, dual_stack());
}

TEST(Gateways, BringADefaultRouteOfEachFamilyThatHasNone) {
  NetResult result = dual_stack();
  result.routes = {{.destination = prefix("0.0.0.0/0")}};
  plan_gateways({.is_gateway = true, .is_default_gateway = true}, result);
  ASSERT_EQ(result.routes.size(), 2U);
  EXPECT_EQ(result.routes[1], (Route{.destination = prefix("::/0"), .gateway = ip("fd00:1::1")}));
}

std::vector<net::AddressInfo> holding(std::initializer_list<const char*> all) {
  std::vector<net::AddressInfo> out;
  for (const char* one : all) out.push_back({.address = address(one)});
  return out;
}

TEST(GatewayChange, IsNothingWhereTheAddressesAreThere) {
  const auto change = gateway_change("cni0", holding({"10.1.0.1/24", "fd00:1::1/64"}),
                                     {address("fd00:1::1/64"), address("10.1.0.1/24")}, false);
  EXPECT_EQ(*change, GatewayChange{});
}

TEST(GatewayChange, AnotherIPv4AddressIsInTheWayAndAnOverlappingOneOfIPv6) {
  EXPECT_FALSE(gateway_change("cni0", holding({"192.0.2.1/24"}), {address("10.1.0.1/24")}, false));
  EXPECT_FALSE(gateway_change("cni0", holding({"fd00:1::2/64"}), {address("fd00:1::1/64")}, false));
  const auto beside = gateway_change("cni0", holding({"fe80::1/64", "fd00:2::1/64"}), {address("fd00:1::1/64")}, false);
  ASSERT_TRUE(beside);
  EXPECT_EQ(beside->add, (std::vector{address("fd00:1::1/64")}));
}

TEST(GatewayChange, ByForceTakesAwayWhatIsInTheWay) {
  const auto change = gateway_change("cni0", holding({"192.0.2.1/24"}), {address("10.1.0.1/24")}, true);
  EXPECT_EQ(*change, (GatewayChange{.remove = {address("192.0.2.1/24")}, .add = {address("10.1.0.1/24")}}));
}

TEST(GatewayChange, TwoGatewaysOfOneFamilyStandSideBySide) {
  const auto change =
      gateway_change("cni0", holding({"10.1.0.1/24"}), {address("10.1.0.1/24"), address("10.2.0.1/24")}, false);
  ASSERT_TRUE(change) << change.error().message();
  EXPECT_EQ(change->add, (std::vector{address("10.2.0.1/24")}));
}

TEST(BridgeMac, IsTheSameForTheBootLocallyAdministeredAndOfOneInterface) {
  const net::Mac mac = bridge_mac("boot", "cni0");
  EXPECT_EQ(mac, bridge_mac("boot", "cni0"));
  EXPECT_NE(mac, bridge_mac("another boot", "cni0"));
  EXPECT_NE(mac, bridge_mac("boot", "cni1"));
  EXPECT_EQ(mac[0] & 3, 2);
}

TEST(PortVlans, AreTheVlanUntaggedAndTheTrunkTagged) {
  EXPECT_TRUE(port_vlan_messages(5, {}, {}).empty());
  const auto kept = port_vlan_messages(5, {}, {.vlan = 100});
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_EQ(kept[0].finished(), net::add_port_vlans(5, 100, {}).finished());
  const auto alone = port_vlan_messages(5, {.default_pvid = 1}, {.trunk = {{7, 9}}, .preserve_default_vlan = false});
  ASSERT_EQ(alone.size(), 2U);
  EXPECT_EQ(alone[0].finished(), net::delete_port_vlan(5, 1).finished());
  EXPECT_EQ(alone[1].finished(), net::add_port_vlans(5, 1, {{7, 9}}).finished());
}

TEST(ContainerLink, OnALinkHasItsSubnetAndRoutesByTheFirstGatewayOfTheFamily) {
  NetResult result = dual_stack();
  result.ips[0].gateway = ip("10.1.0.1");
  result.routes = {{.destination = prefix("0.0.0.0/0")},
                   {.destination = prefix("10.9.0.0/16"), .gateway = ip("10.1.0.9"), .mtu = 1300, .priority = 5},
                   {.destination = prefix("10.8.0.0/16"), .scope = RT_SCOPE_LINK}};
  const auto link = container_link(2, result, Subnet::OnLink);
  ASSERT_TRUE(link);
  ASSERT_EQ(link->addresses.size(), 2U);
  EXPECT_EQ(link->addresses[0].flags, 0U);
  EXPECT_EQ(link->addresses[1].flags, unsigned{IFA_F_NODAD});
  ASSERT_EQ(link->routes.size(), 3U);
  EXPECT_EQ(link->routes[0].gateway, ip("10.1.0.1"));
  EXPECT_EQ(link->routes[1].gateway, ip("10.1.0.9"));
  EXPECT_EQ(link->routes[1].mtu, 1300U);
  EXPECT_EQ(link->routes[1].priority, 5U);
  EXPECT_FALSE(link->routes[2].gateway) << "a route of the link's scope has none";
}

TEST(ContainerLink, DetectsDuplicatesOnlyWhenAsked) {
  const auto link = container_link(2, dual_stack(), Subnet::OnLink, {true});
  EXPECT_EQ(link->addresses[1].flags, 0U);
}

TEST(Ipvlan, TakesTheOnlyInterfaceOfPrevResultAsMaster) {
  Call call = call_of(R"({"mode":"l3s"})");
  EXPECT_EQ(*parse_ipvlan_config(call), (IpvlanConfig{.mode = IPVLAN_MODE_L3S}));
  call.previous.emplace();
  call.previous->interfaces = {{.name = "bond0"}};
  EXPECT_EQ(parse_ipvlan_config(call)->master, "bond0");
  call.previous->interfaces.push_back({.name = "eth0"});
  EXPECT_EQ(parse_ipvlan_config(call).error().message(),
            "master: is missing, and prevResult has 2 interfaces instead of one that could be it");
  EXPECT_EQ(parse_ipvlan_config(call_of(R"({"mode":"magic"})")).error().message(),
            "mode: \"magic\" is unknown; allowed is \"l2\", \"l3\" or \"l3s\"");
}

TEST(Ipvlan, TellsTheKernelItsModeInTwoBytes) {
  const std::string data = ipvlan_data({.mode = IPVLAN_MODE_L3});
  EXPECT_EQ(data, std::string("\x06\x00\x01\x00\x01\x00\x00\x00", 8)) << "length 6, IFLA_IPVLAN_MODE, 1, padding";
}

}  // namespace
}  // namespace fairlead::cni::testing
