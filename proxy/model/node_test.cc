// The own node: from what the operator asked for and the cluster says, to what dataplanes need to know.
#include <gtest/gtest.h>

#include "proxy/model/test_objects.h"

namespace fairlead::proxy::model {
namespace {

using namespace test;
using Prefixes = std::vector<Prefix>;

const Prefix kAll4 = prefix("0.0.0.0/0");
const Prefix kAll6 = prefix("::/0");

kube::Node node1() {
  kube::Node node;
  node.meta.key.name = "node1";
  node.labels[std::string(kube::kZoneLabel)] = "zone-a";
  return node;
}
NodeView view_of(const kube::Node& node, const Config& config = {}) {
  kube::Store store;
  store.upsert(node);
  return node_view(store, "node1", config);
}

TEST(Node, IsKnownByItsNameBeforeItIsSeen) {
  EXPECT_EQ(node_view(kube::Store(), "node1"), (NodeView{.name = "node1", .zone = ""}));
  EXPECT_EQ(view_of(node1()), kNode);
}

TEST(Node, HasOneAddressPerFamilyInternalBeforeExternal) {
  kube::Node node = node1();
  node.external_ips = {ip("192.0.2.1"), ip("2001:db8::1"), ip("2001:db8::2")};
  node.internal_ips = {ip("172.18.0.1"), ip("172.18.0.2")};
  EXPECT_EQ(view_of(node).addresses, (std::vector<Ip>{ip("172.18.0.1"), ip("2001:db8::1")}));
}

TEST(Node, AnAddressGivenByTheOperatorComesFirst) {
  kube::Node node = node1();
  node.internal_ips = {ip("172.18.0.1"), ip("fd00::1")};
  Config config;
  config.node_ip = ip("10.0.0.9");
  EXPECT_EQ(view_of(node, config).addresses, (std::vector<Ip>{ip("10.0.0.9"), ip("fd00::1")}));
  EXPECT_EQ(node_view(kube::Store(), "node1", config).addresses, std::vector<Ip>{ip("10.0.0.9")});
  for (const auto* unspecified : {"0.0.0.0", "::"}) {
    config.node_ip = ip(unspecified);
    EXPECT_EQ(view_of(node, config).addresses, (std::vector<Ip>{ip("172.18.0.1"), ip("fd00::1")}));
  }
}

TEST(Node, ServiceCidrsOfAllObjectsAreSortedEachOnce) {
  kube::Store store;
  kube::ServiceCidr first;
  first.meta.key.name = "kubernetes";
  first.cidrs = {prefix("10.96.0.0/16"), prefix("fd00:10:96::/112")};
  kube::ServiceCidr second = first;
  second.meta.key.name = "more";
  second.cidrs = {prefix("10.97.0.0/16"), prefix("10.96.0.0/16")};
  store.upsert(first);
  store.upsert(second);
  const Prefixes expected{prefix("10.96.0.0/16"), prefix("10.97.0.0/16"), prefix("fd00:10:96::/112")};
  EXPECT_EQ(node_state(node_view(store, "node1")).service_cidrs, expected);
  // The object that repeats one of them goes: it is still there.
  store.erase(kube::Kind::ServiceCidr, second.meta.key);
  EXPECT_EQ(node_view(store, "node1").service_cidrs.size(), 2U);
}

TEST(PodDetection, ByClusterCidrTakesTheFirstOfEachFamily) {
  NodeView view = kNode;
  view.config.cluster_cidrs = {prefix("10.244.0.0/16"), prefix("10.245.0.0/16"), prefix("fd00:10:244::/48")};
  const LocalTraffic pods = node_state(view).pods;
  EXPECT_EQ(pods.sources, (Prefixes{prefix("10.244.0.0/16"), prefix("fd00:10:244::/48")}));
  EXPECT_EQ(pods.interface, "");
}

TEST(PodDetection, ByNodeCidrTakesThatOfTheNode) {
  kube::Node node = node1();
  node.pod_cidrs = {prefix("10.244.1.0/24")};
  Config config;
  config.detect_local = DetectLocal::NodeCidr;
  config.cluster_cidrs = {prefix("10.0.0.0/8")};
  EXPECT_EQ(node_state(view_of(node, config)).pods.sources, Prefixes{prefix("10.244.1.0/24")});
  EXPECT_TRUE(node_state(view_of(node, config)).pods.known(Family::V4));
  EXPECT_FALSE(node_state(view_of(node, config)).pods.known(Family::V6));
}

TEST(PodDetection, ByInterfaceNeedsNoAddresses) {
  NodeView view = kNode;
  view.config.cluster_cidrs = {prefix("10.244.0.0/16")};
  view.config.local_interface = "cni0";
  view.config.detect_local = DetectLocal::BridgeInterface;
  EXPECT_EQ(node_state(view).pods, (LocalTraffic{.sources = {}, .interface = "cni0", .interface_is_prefix = false}));
  view.config.detect_local = DetectLocal::InterfaceNamePrefix;
  EXPECT_EQ(node_state(view).pods, (LocalTraffic{.sources = {}, .interface = "cni0", .interface_is_prefix = true}));
}

TEST(NodePortAddresses, AreAllUnlessSomeAreNamed) {
  EXPECT_EQ(node_state(kNode).node_port_addresses, (Prefixes{kAll4, kAll6}));
}

TEST(NodePortAddresses, OfOneFamilyLeaveTheOtherAlone) {
  NodeView view = kNode;
  view.config.node_port_addresses = {prefix("172.18.0.0/16"), prefix("10.0.0.0/8")};
  EXPECT_EQ(node_state(view).node_port_addresses, (Prefixes{prefix("10.0.0.0/8"), prefix("172.18.0.0/16"), kAll6}));
  view.config.node_port_addresses = {prefix("fd00::/8")};
  EXPECT_EQ(node_state(view).node_port_addresses, (Prefixes{kAll4, prefix("fd00::/8")}));
}

TEST(NodePortAddresses, EverythingSwallowsTheRestOfItsFamily) {
  NodeView view = kNode;
  view.config.node_port_addresses = {prefix("172.18.0.0/16"), kAll4, prefix("fd00::/8")};
  EXPECT_EQ(node_state(view).node_port_addresses, (Prefixes{kAll4, prefix("fd00::/8")}));
}

TEST(NodePortAddresses, OnPrimaryAreThoseOfTheNode) {
  NodeView view = kNode;
  view.config.node_ports_on_primary = true;
  view.config.node_port_addresses = {prefix("10.0.0.0/8")};
  EXPECT_EQ(node_state(view).node_port_addresses, (Prefixes{kAll4, kAll6})) << "while the node is unknown";
  view.addresses = {ip("172.18.0.1")};
  EXPECT_EQ(node_state(view).node_port_addresses, (Prefixes{prefix("172.18.0.1/32"), kAll6}));
  view.addresses = {ip("172.18.0.1"), ip("fd00::1")};
  EXPECT_EQ(node_state(view).node_port_addresses, (Prefixes{prefix("172.18.0.1/32"), prefix("fd00::1/128")}));
  view.addresses = {ip("127.0.0.1"), ip("::1")};
  EXPECT_EQ(node_state(view).node_port_addresses, (Prefixes{kAll4, kAll6})) << "loopback is no address of a node";
}

// kubernetes v1.36 pkg/proxy/util/nodeport_addresses.go, ContainsIPv4Loopback.
TEST(LocalhostNodePorts, AreServedWhereTheNamedAddressesTakeInLoopback) {
  NodeView view = kNode;
  const auto served = [&](const Prefixes& named) {
    view.config.node_port_addresses = named;
    return node_state(view).localhost_node_ports;
  };
  EXPECT_TRUE(served({}));
  EXPECT_TRUE(served({kAll4}));
  EXPECT_TRUE(served({prefix("172.18.0.0/16"), prefix("127.0.0.0/8")}));
  EXPECT_TRUE(served({prefix("127.0.0.1/32")}));
  EXPECT_TRUE(served({prefix("fd00::/8")})) << "all of IPv4";
  EXPECT_FALSE(served({prefix("172.18.0.0/16")}));
  view.config.node_ports_on_primary = true;
  view.addresses = {ip("172.18.0.1")};
  EXPECT_FALSE(served({}));
}

TEST(LocalhostNodePorts, AreNotServedWhenSwitchedOff) {
  NodeView view = kNode;
  view.config.localhost_node_ports = false;
  EXPECT_FALSE(node_state(view).localhost_node_ports);
}

}  // namespace
}  // namespace fairlead::proxy::model
