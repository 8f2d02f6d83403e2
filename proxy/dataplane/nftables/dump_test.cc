#include "proxy/dataplane/nftables/dump.h"

#include <gtest/gtest.h>

#include <cstring>

#include "net/nft/fake.h"
#include "proxy/dataplane/nftables/elements.h"
#include "proxy/dataplane/nftables/nftables.h"
#include "proxy/dataplane/nftables/test_states.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

using namespace test;

constexpr net::Family kFamilies[] = {net::Family::V4, net::Family::V6};

struct Dumped {
  std::shared_ptr<nft::FakeNamespace> ns = std::make_shared<nft::FakeNamespace>();

  void write(const model::NodeState& node, const std::vector<model::ServiceState>& services) {
    auto dataplane = make(std::make_unique<nft::FakeKernel>(ns), Options(), {kFamilies[0], kFamilies[1]});
    EXPECT_TRUE(dataplane->replace(node, services).ok());
  }
  std::string text(net::Family family = net::Family::V4) const {
    nft::FakeKernel kernel(ns);
    const auto sights = sights_of(kernel, "fairlead", {family});
    EXPECT_TRUE(sights);
    return sights && sights->size() == 1 ? text_of(sights->front()) : "nothing";
  }
};

TEST(Dump, SaysOfEveryFrontendWhatHappensToItsConnections) {
  model::Frontend off_cluster = cluster_ip("10.96.0.10", 53);
  off_cluster.masquerade = model::Masquerade::OffCluster;
  model::Frontend local = node_port(30080, false);
  local.pool = model::Pool::Local;
  local.short_circuit = true;
  local.when_empty = model::WhenEmpty::Drop;
  model::Frontend balancer = cluster_ip("192.0.2.1", 80);
  balancer.kind = model::FrontendKind::LoadBalancerIp;
  balancer.restricted = true;
  auto web = service("web", {balancer, local}, endpoints(1));
  web.ports[0].allowed_sources = {prefix("10.0.0.0/8"), prefix("203.0.113.7/32")};
  auto sticky = service("sticky", {cluster_ip("10.96.0.12", 80)}, endpoints(1));
  sticky.ports[0].affinity_seconds = 10800;
  model::NodeState node;
  node.pods.sources = {prefix("10.244.0.0/16")};
  node.service_cidrs = {prefix("10.96.0.0/12")};
  Dumped dumped;
  dumped.write(node, {service("dns", {off_cluster}, endpoints(2), model::Protocol::Udp), sticky,
                      service("none", {cluster_ip("10.96.0.11", 80)}, {}), web});
  // A client that stays.
  auto& elements = dumped.ns->tables[{net::Family::V4, "fairlead"}].elements;
  nft::Element client;
  client.key_size = 8;
  std::memcpy(client.key.data() + 4, elements["sessions"].begin()->data.data(), 4);
  client.data_size = 4;
  elements["sticky"].insert(client);
  EXPECT_EQ(dumped.text(),
            "table ip fairlead: 5 frontends\n"
            "\n"
            "10.96.0.11:80/tcp\n"
            "    connections         rejected\n"
            "\n"
            "10.96.0.12:80/tcp\n"
            "    connections         balanced over 1 endpoint (t10800)\n"
            "                        10.0.0.1:8080\n"
            "    affinity            10800 s, group 88813, 1 client\n"
            "\n"
            "192.0.2.1:80/tcp\n"
            "    only from           10.0.0.0/8\n"
            "                        203.0.113.7/32\n"
            "    connections         balanced over 1 endpoint (n1)\n"
            "                        10.0.0.1:8080\n"
            "\n"
            "10.96.0.10:53/udp\n"
            "    connections         balanced over 2 endpoints, masqueraded unless from a pod (n2_offcluster)\n"
            "                        10.0.0.1:8080\n"
            "                        10.0.0.2:8080\n"
            "\n"
            "node port 30080/tcp\n"
            "    pods, this node     balanced over 1 endpoint (n1_nodeport_short)\n"
            "                        10.0.0.1:8080\n"
            "    others              dropped\n"
            "\n"
            "node-wide\n"
            "    pods                of 10.244.0.0/16\n"
            "    node ports on       every local address but loopback\n"
            "    service ranges      10.96.0.0/12\n"
            "    masquerade mark     0x4000\n"
            "    invalid packets     dropped when forwarded\n"
            "    sticky clients      1 of at most 1048576\n");
}

TEST(Dump, AnEmptyTableShowsTheNode) {
  Dumped dumped;
  model::NodeState node;
  node.node_port_addresses = {};
  dumped.write(node, {});
  EXPECT_EQ(dumped.text(net::Family::V6),
            "table ip6 fairlead: 0 frontends\n"
            "\n"
            "node-wide\n"
            "    pods                not told apart\n"
            "    node ports on       no address\n"
            "    service ranges      unknown\n"
            "    masquerade mark     0x4000\n"
            "    invalid packets     dropped when forwarded\n"
            "    sticky clients      0 of at most 1048576\n");
}

TEST(Dump, ATableOfAnotherLayoutOrABrokenOneIsCalledThat) {
  Dumped dumped;
  EXPECT_EQ(dumped.text(), "nothing");
  dumped.write({}, {});
  auto& table = dumped.ns->tables[{net::Family::V4, "fairlead"}];
  table.objects.rules.push_back({"nat_output", ""});
  EXPECT_EQ(dumped.text(),
            "table ip fairlead: the rules of chain nat_output are not as written; a running agent writes the table "
            "again\n");
  table.objects.comment = "fairlead layout 1, mark 16384";
  EXPECT_EQ(dumped.text(), "table ip fairlead: not of this version's layout, or somebody else's\n");
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::nftables
