// Who is served from where, with which address, and who is not served at all: on a real kernel.
#include "proxy/dataplane/nftables/kernel_fixture_test.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

class NftablesPolicy : public NftablesKernel {
 protected:
  static void SetUpTestSuite() {
    NftablesKernel::SetUpTestSuite();
    for (Family family : kBothFamilies) {
      for (const net::Ip& address : {service_ip(family), external_ip(family)}) {
        ASSERT_OK(bed_->route_via_node("client", one(address), 1));
      }
    }
  }
  static net::Prefix one(const net::Ip& address) {
    return {address, static_cast<std::uint8_t>(address.family() == Family::V4 ? 32 : 128)};
  }
  static net::Ip external_ip(Family family) { return ip(family == Family::V4 ? "192.0.2.10" : "fd00:192::10"); }
  static model::NodeState pods_by_source() {
    model::NodeState node;
    node.pods.sources = {prefix("10.244.0.0/16"), prefix("fd00:10:244::/48")};
    return node;
  }
  static model::ServiceState off_cluster(Family family) {
    auto state = web(family, {"pod2a"});
    state.ports[0].frontends[0].masquerade = model::Masquerade::OffCluster;
    return state;
  }
  // externalTrafficPolicy Local at a node port and an external address. The sets are told apart by their members.
  static model::ServiceState local_policy(Family family, const std::vector<std::string>& cluster,
                                          const std::vector<std::string>& local) {
    const model::Frontend external{.kind = model::FrontendKind::ExternalIp,
                                   .address = external_ip(family),
                                   .port = 80,
                                   .pool = model::Pool::Local,
                                   .short_circuit = true};
    model::Frontend port = node_port(30080, false);
    port.pool = model::Pool::Local;
    port.short_circuit = true;
    auto state = service("local", {external, port}, at(cluster, family));
    state.ports[0].local_endpoints = at(local, family);
    return state;
  }
  static model::ServiceState restricted(Family family, const std::vector<std::string>& pods,
                                        const std::vector<net::Prefix>& sources) {
    model::Frontend frontend = cluster_ip(external_ip(family).to_string(), 80);
    frontend.kind = model::FrontendKind::LoadBalancerIp;
    frontend.restricted = true;
    auto state = service("restricted", {frontend}, at(pods, family));
    state.ports[0].allowed_sources = sources;
    std::sort(state.ports[0].allowed_sources.begin(), state.ports[0].allowed_sources.end());
    return state;
  }
  static std::string interface_of(const std::string& pod) {
    const auto output = bed_->run("node1", {"ip", "-o", "route", "get", ip_of(pod, Family::V4).to_string()});
    EXPECT_OK(output);
    const std::string text = output ? output->out : "";
    const std::size_t at = text.find(" dev ") + 5;
    return text.substr(at, text.find(' ', at) - at);
  }
};

TEST_F(NftablesPolicy, StrangersAreMasqueradedAtClusterIpsAndPodsAreNot) {
  for (Family family : kBothFamilies) {
    const net::Ip node = ip_of("node1", family);
    replace({off_cluster(family)}, pods_by_source());
    EXPECT_EQ(ask("pod1a", service_ip(family), 80), saw("pod2a", ip_of("pod1a", family)));
    EXPECT_EQ(ask("client", service_ip(family), 80), saw("pod2a", node));
    EXPECT_EQ(ask("node1", service_ip(family), 80), saw("pod2a", node));
  }
}

TEST_F(NftablesPolicy, PodsAreToldByTheirInterface) {
  const std::string exact = interface_of("pod1a");
  for (Family family : kBothFamilies) {
    const net::Ip node = ip_of("node1", family);
    model::NodeState by_interface;
    by_interface.pods.interface = exact;
    replace({off_cluster(family)}, by_interface);
    EXPECT_EQ(ask("pod1a", service_ip(family), 80), saw("pod2a", ip_of("pod1a", family)));
    EXPECT_EQ(ask("pod1b", service_ip(family), 80), saw("pod2a", node));
    by_interface.pods.interface = "veth";
    by_interface.pods.interface_is_prefix = true;
    replace({off_cluster(family)}, by_interface);
    EXPECT_EQ(ask("pod1a", service_ip(family), 80), saw("pod2a", ip_of("pod1a", family)));
    EXPECT_EQ(ask("pod1b", service_ip(family), 80), saw("pod2a", ip_of("pod1b", family)));
    EXPECT_EQ(ask("client", service_ip(family), 80), saw("pod2a", node));
  }
}

TEST_F(NftablesPolicy, ALocalPolicyIsForClientsOutside) {
  for (const std::uint32_t affinity : {0U, 10800U}) {
    for (Family family : kBothFamilies) {
      const net::Ip node = ip_of("node1", family);
      auto state = local_policy(family, {"pod2a"}, {"pod1b"});
      state.ports[0].affinity_seconds = affinity;
      replace({state}, pods_by_source());
      for (const auto& [address, port] : {std::pair(node, 30080), std::pair(external_ip(family), 80)}) {
        const auto at_port = static_cast<std::uint16_t>(port);
        EXPECT_EQ(ask("client", address, at_port), saw("pod1b", ip_of("client", family)));
        EXPECT_EQ(ask("pod1a", address, at_port), saw("pod2a", ip_of("pod1a", family)));
        EXPECT_EQ(ask("node1", address, at_port), saw("pod2a", node));
      }
    }
  }
}

TEST_F(NftablesPolicy, WithoutALocalEndpointOnlyClientsOutsideAreTurnedAway) {
  for (Family family : kBothFamilies) {
    const net::Ip node = ip_of("node1", family);
    for (const auto when_empty : {model::WhenEmpty::Drop, model::WhenEmpty::Reject}) {
      auto state = local_policy(family, {"pod2a"}, {});
      for (model::Frontend& frontend : state.ports[0].frontends) frontend.when_empty = when_empty;
      replace({state}, pods_by_source());
      for (const auto& [address, port] : {std::pair(node, 30080), std::pair(external_ip(family), 80)}) {
        const auto at_port = static_cast<std::uint16_t>(port);
        EXPECT_EQ(ask("client", address, at_port), when_empty == model::WhenEmpty::Drop ? "timeout" : "refused");
        EXPECT_EQ(ask("pod1a", address, at_port), saw("pod2a", ip_of("pod1a", family)));
        EXPECT_EQ(ask("node1", address, at_port), saw("pod2a", node));
      }
    }
  }
}

TEST_F(NftablesPolicy, WithoutAnyEndpointALocalPolicyRefusesEverybody) {
  for (Family family : kBothFamilies) {
    replace({local_policy(family, {}, {})}, pods_by_source());
    for (const std::string from : {"client", "pod1a", "node1"}) {
      EXPECT_EQ(ask(from, ip_of("node1", family), 30080), "refused") << from;
      EXPECT_EQ(ask(from, external_ip(family), 80), "refused") << from;
    }
  }
}

TEST_F(NftablesPolicy, WherePodsAreNotKnownTheyAreClientsOutside) {
  replace({local_policy(Family::V4, {"pod2a"}, {"pod1b"})});
  EXPECT_EQ(ask("pod1a", ip_of("node1", Family::V4), 30080), saw("pod1b", ip_of("pod1a", Family::V4)));
}

TEST_F(NftablesPolicy, ARestrictedFrontendIsForItsSourcesAlone) {
  for (Family family : kBothFamilies) {
    const net::Ip client = ip_of("client", family);
    const net::Prefix others = prefix(family == Family::V4 ? "203.0.113.0/24" : "2001:db8::/48");
    replace({restricted(family, {"pod1b"}, {one(client), others})}, pods_by_source());
    EXPECT_EQ(ask("client", external_ip(family), 80), saw("pod1b", client));
    EXPECT_EQ(ask("pod1a", external_ip(family), 80), "timeout");
    EXPECT_EQ(ask("node1", external_ip(family), 80), "timeout");
    const net::Prefix pods = pods_by_source().pods.sources[family == Family::V4 ? 0 : 1];
    ASSERT_TRUE(dataplane_->apply({{restricted(family, {"pod1b"}, {pods, others})}, {}}).ok());
    EXPECT_EQ(ask("client", external_ip(family), 80), "timeout");
    EXPECT_EQ(ask("pod1a", external_ip(family), 80), saw("pod1b", ip_of("pod1a", family)));
    // Nobody, and then everybody.
    ASSERT_TRUE(dataplane_->apply({{restricted(family, {"pod1b"}, {})}, {}}).ok());
    EXPECT_EQ(ask("pod1a", external_ip(family), 80), "timeout");
    auto open_to_all = restricted(family, {"pod1b"}, {});
    open_to_all.ports[0].frontends[0].restricted = false;
    ASSERT_TRUE(dataplane_->apply({{open_to_all}, {}}).ok());
    EXPECT_EQ(ask("client", external_ip(family), 80), saw("pod1b", client));
  }
}

TEST_F(NftablesPolicy, ARestrictedFrontendWithoutEndpointsRefusesItsSourcesAlone) {
  for (Family family : kBothFamilies) {
    replace({restricted(family, {}, {one(ip_of("client", family))})}, pods_by_source());
    EXPECT_EQ(ask("client", external_ip(family), 80), "refused");
    EXPECT_EQ(ask("pod1a", external_ip(family), 80), "timeout");
  }
}

TEST_F(NftablesPolicy, SourcesAreAskedOfNewConnectionsOnly) {
  const net::Ip client = ip_of("client", Family::V4);
  replace({restricted(Family::V4, {"pod1b"}, {one(client)})});
  auto load = bed_->start_load(
      "client",
      {.to = {external_ip(Family::V4), 80, Transport::Tcp}, .long_lived = true, .rate = 200, .report_every_ms = 100});
  ASSERT_OK(load);
  ASSERT_GT((*load)->next_report(std::chrono::seconds(30))->answered, 0U);
  ASSERT_TRUE(dataplane_->apply({{restricted(Family::V4, {"pod1b"}, {})}, {}}).ok());
  EXPECT_EQ(ask("client", external_ip(Family::V4), 80), "timeout");
  const auto counts = (*load)->stop();
  ASSERT_OK(counts);
  EXPECT_EQ(counts->failed(), 0U) << *counts;
  EXPECT_EQ(counts->connections, 1U);
}

TEST_F(NftablesPolicy, ARestrictedNodePortIsRestrictedWhereItAnswers) {
  auto state = exposed(Family::V4, {"pod2a"}, false);
  state.ports[0].frontends[0].restricted = true;
  state.ports[0].allowed_sources = {one(ip_of("pod1a", Family::V4))};
  replace({state});
  const net::Ip node = ip_of("node1", Family::V4);
  EXPECT_EQ(ask("pod1a", node, 30080), saw("pod2a", ip_of("pod1a", Family::V4)));
  EXPECT_EQ(ask("client", node, 30080), "timeout");
  model::NodeState elsewhere;
  elsewhere.node_port_addresses = {prefix("10.0.0.0/8")};
  replace({state}, elsewhere);
  EXPECT_EQ(ask("client", node, 30080), "refused");
}

TEST_F(NftablesPolicy, NodePortsAnswerOnTheAddressesTheyWereGiven) {
  for (Family family : kBothFamilies) {
    const net::Ip node = ip_of("node1", family);
    const net::Prefix other = prefix(family == Family::V4 ? "10.0.0.0/8" : "2001:db8::/32");
    model::NodeState state;
    for (const auto& addresses : {std::vector{other, one(node)}, std::vector{one(node)}}) {
      state.node_port_addresses = addresses;
      replace({exposed(family, {"pod2a"}, true)}, state);
      EXPECT_EQ(ask("client", node, 30080), saw("pod2a", node));
      EXPECT_EQ(ask("node1", node, 30080), saw("pod2a", node));
    }
    state.node_port_addresses = {other};
    replace({exposed(family, {"pod2a"}, true)}, state);
    EXPECT_EQ(ask("client", node, 30080), "refused");  // by the node itself: nobody listens there
    EXPECT_EQ(ask("node1", node, 30080), "refused");
    replace({exposed(family, {}, true)}, state);
    EXPECT_EQ(ask("client", node, 30080), "refused");
  }
}

TEST_F(NftablesPolicy, APortNoServiceHasIsRefusedAtItsClusterIp) {
  for (Family family : kBothFamilies) {
    replace({web(family, {"pod2a"})});
    for (const std::string from : {"pod1a", "node1", "client"}) {
      EXPECT_EQ(ask(from, service_ip(family), 81), "refused") << from;
      EXPECT_EQ(ask(from, service_ip(family), 81, Transport::Udp), "refused") << from;
    }
    replace({});
    EXPECT_NE(ask("pod1a", service_ip(family), 81), "refused");
  }
}

TEST_F(NftablesPolicy, AnAddressNoServiceHasIsSilentInsideTheServiceRanges) {
  for (Family family : kBothFamilies) {
    const net::Ip unused = ip(family == Family::V4 ? "10.96.7.7" : "fd00:10:96::7");
    model::NodeState state;
    state.service_cidrs = {prefix(family == Family::V4 ? "10.96.0.0/16" : "fd00:10:96::/64")};
    replace({web(family, {"pod2a"})}, state);
    EXPECT_EQ(ask("pod1a", service_ip(family), 80), saw("pod2a", ip_of("pod1a", family)));
    EXPECT_EQ(ask("pod1a", unused, 80), "timeout");
    EXPECT_EQ(ask("node1", unused, 80, Transport::Udp), "Operation not permitted");
    replace({web(family, {"pod2a"})});
    EXPECT_NE(ask("node1", unused, 80, Transport::Udp), "Operation not permitted");
  }
}

TEST_F(NftablesPolicy, AnotherNodeStateLosesNoConnectionAndReadsBack) {
  const auto services = std::vector{off_cluster(Family::V4), local_policy(Family::V6, {"pod2a"}, {"pod1b"})};
  model::NodeState other = pods_by_source();
  other.pods.sources[0] = prefix("10.244.1.0/24");
  other.node_port_addresses = {prefix("172.18.0.0/16"), prefix("::/0")};
  other.service_cidrs = {prefix("10.96.0.0/16")};
  replace(services, pods_by_source());
  auto load = bed_->start_load(
      "pod1a", {.to = {service_ip(Family::V4), 80, Transport::Tcp}, .parallel = 2, .rate = 500, .report_every_ms = 50});
  ASSERT_OK(load);
  for (int i = 0; i < 20; ++i) {
    const model::NodeState& next = i % 2 == 0 ? other : pods_by_source();
    ASSERT_GT(dataplane_->replace(next, services).kernel_writes, 0U);
    EXPECT_EQ(dataplane_->replace(next, services).kernel_writes, 0U);
    ASSERT_OK((*load)->next_report(std::chrono::seconds(30)));
  }
  const auto counts = (*load)->stop();
  ASSERT_OK(counts);
  EXPECT_EQ(counts->failed(), 0U) << *counts;
  const std::string before = dump_text(*dataplane_);
  start();
  EXPECT_EQ(dataplane_->replace(pods_by_source(), services).kernel_writes, 0U);
  EXPECT_EQ(dump_text(*dataplane_), before);
  nft({"list", "ruleset"});
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::nftables
