#include "proxy/dataplane/ebpf/node_plan.h"

#include <gtest/gtest.h>

namespace fairlead::proxy::dataplane::ebpf {
namespace {

net::Prefix prefix(const std::string& text) { return *net::Prefix::parse(text); }
net::Ip ip(const std::string& text) { return *net::Ip::parse(text); }
bpf::network_key key(const std::string& text) {
  const net::Prefix p = prefix(text);
  return {.prefixlen = mapped_length(p), .addr = to_addr16(p.address)};
}

TEST(NodePlan, NodePortsAreOnTheAddressesInsideTheGivenOnesAndNeverOnLoopback) {
  const net::Links links{.links = {},
                         .addresses = {{.address = ip("127.0.0.1"), .link = 1, .global = false},
                                       {.address = ip("192.0.2.1"), .link = 2, .global = true},
                                       {.address = ip("198.51.100.1"), .link = 2, .global = true},
                                       {.address = ip("fd00::1"), .link = 2, .global = true}}};
  model::NodeState node;
  node.node_port_addresses = {prefix("192.0.2.0/24"), prefix("::/0")};
  EXPECT_EQ(plan_node(node, links, {}).addresses,
            (std::map<bpf::addr16, std::uint32_t>{{to_addr16(ip("192.0.2.1")), bpf::ADDRESS_NODE_PORTS},
                                                  {to_addr16(ip("198.51.100.1")), 0U},
                                                  {to_addr16(ip("fd00::1")), bpf::ADDRESS_NODE_PORTS}}));
}

TEST(NodePlan, PodsAreKnownByTheInterfaceOrByTheBridgeItIsAPortOf) {
  const net::Links links{.links = {{.index = 2, .name = "cni0", .master_kind = {}},
                                   {.index = 3, .name = "veth1", .master = 2, .master_kind = "bridge"},
                                   {.index = 4, .name = "veth2", .master_kind = {}},
                                   {.index = 5, .name = "eth0", .master = 6, .master_kind = "bond"}},
                         .addresses = {}};
  const auto interfaces = [&](const std::string& name, bool is_prefix) {
    model::NodeState node;
    node.pods = {.sources = {}, .interface = name, .interface_is_prefix = is_prefix};
    std::vector<std::uint32_t> out;
    for (const auto& [index, nothing] : plan_node(node, links, {}).pod_interfaces) out.push_back(index);
    return out;
  };
  EXPECT_EQ(interfaces("cni0", false), (std::vector<std::uint32_t>{2, 3}));
  EXPECT_EQ(interfaces("veth", true), (std::vector<std::uint32_t>{3, 4}));
  EXPECT_EQ(interfaces("veth", false), std::vector<std::uint32_t>{});
  EXPECT_EQ(interfaces("", false), std::vector<std::uint32_t>{});
}

TEST(NodePlan, ANetworkSaysWhatThoseAroundItSay) {
  model::NodeState node;
  node.pods.sources = {prefix("10.1.0.0/16")};
  node.service_cidrs = {prefix("10.0.0.0/8"), prefix("fd00::/64")};
  EXPECT_EQ(plan_networks(node), (Networks{{key("10.0.0.0/8"), bpf::NETWORK_SERVICES},
                                           {key("10.1.0.0/16"), bpf::NETWORK_PODS | bpf::NETWORK_SERVICES},
                                           {key("fd00::/64"), bpf::NETWORK_SERVICES}}));
}

TEST(NodePlan, BetweenTwoStatesPodsOfBothCountAndOnlyCommonServiceNetworksAreClosed) {
  model::NodeState before;
  before.pods.sources = {prefix("10.1.0.0/16")};
  before.service_cidrs = {prefix("10.96.0.0/16"), prefix("10.97.0.0/16")};
  model::NodeState after;
  after.pods.sources = {prefix("10.2.0.0/16")};
  after.service_cidrs = {prefix("10.96.0.0/12")};
  const NodeRows have = plan_node(before, {}, {});
  const NodeRows want = plan_node(after, {}, {});
  EXPECT_EQ(between(have, want).networks, (Networks{{key("10.1.0.0/16"), bpf::NETWORK_PODS},
                                                    {key("10.2.0.0/16"), bpf::NETWORK_PODS},
                                                    {key("10.96.0.0/12"), 0U},
                                                    {key("10.96.0.0/16"), bpf::NETWORK_SERVICES},
                                                    {key("10.97.0.0/16"), bpf::NETWORK_SERVICES}}));
  EXPECT_EQ(between(want, want).networks, want.networks) << "the same state twice writes nothing";
  EXPECT_EQ(between({}, want).networks, (Networks{{key("10.2.0.0/16"), bpf::NETWORK_PODS}, {key("10.96.0.0/12"), 0U}}))
      << "before the first services nothing is dropped";
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::ebpf
