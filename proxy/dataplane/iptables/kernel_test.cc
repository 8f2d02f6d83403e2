// The dataplane on a real kernel, in both flavours: connections between namespaces, and what iptables-save says.
#include <gtest/gtest.h>
#include <poll.h>

#include <map>

#include "base/strings.h"
#include "proxy/dataplane/iptables/iptables.h"
#include "proxy/dataplane/iptables/test_states.h"
#include "tests/datapath/assert_ok.h"
#include "tests/datapath/testbed.h"

namespace fairlead::proxy::dataplane::iptables {
namespace {

using namespace test;
using base::cat;
using net::Family;
using testbed::Testbed;
using testbed::Transport;

constexpr Family kFamilies[] = {Family::V4, Family::V6};

class IptablesKernel : public testing::TestWithParam<Flavour> {
 protected:
  static void SetUpTestSuite() {
    auto created = Testbed::create({.nodes = 2, .pods_per_node = 3});
    ASSERT_OK(created);
    bed_ = std::move(*created);
    for (const auto* pod : bed_->pods()) ASSERT_OK(bed_->serve(pod->name, {"[::]:8080/tcp", "[::]:8080/udp"}));
    ASSERT_OK(bed_->serve("node1", {"[::]:8099/tcp"}));
    for (const Family family : kFamilies) {
      ASSERT_OK(bed_->route_via_node("client", host(service_ip(family)), 1));
      ASSERT_OK(bed_->route_via_node("client", host(external_ip(family)), 1));
    }
  }
  static void TearDownTestSuite() { bed_.reset(); }

  void SetUp() override {
    state_.pods.sources = {prefix("10.244.0.0/16"), prefix("fd00:10:244::/48")};
    start();
  }
  void TearDown() override {
    if (dataplane_ != nullptr) EXPECT_OK(bed_->run_in("node1", [&] { return dataplane_->remove(); }));
  }

  static Options options() {
    Options out;
    out.iptables_flavour = to_string(GetParam());
    return out;
  }
  // A start of the agent on node1.
  void start() {
    dataplane_.reset();
    ASSERT_OK(bed_->run_in("node1", [&]() -> Status {
      dataplane_ = TRY(open(options()));
      return {};
    }));
  }
  Report replace(const std::vector<model::ServiceState>& services) {
    Report report;
    EXPECT_OK(bed_->run_in("node1", [&]() -> Status {
      report = dataplane_->replace(state_, services);
      return {};
    }));
    EXPECT_TRUE(report.ok()) << report.failures[0].error.message();
    return report;
  }
  Report apply(const model::Changes& changes) {
    Report report;
    EXPECT_OK(bed_->run_in("node1", [&]() -> Status {
      report = dataplane_->apply(changes);
      return {};
    }));
    EXPECT_TRUE(report.ok()) << report.failures[0].error.message();
    return report;
  }

  static net::Ip ip_of(const std::string& place, Family family) { return (*bed_->place(place))->ip(family); }
  static net::Ip service_ip(Family family) { return ip(family == Family::V4 ? "10.96.0.1" : "fd00:10:96::1"); }
  static net::Ip external_ip(Family family) { return ip(family == Family::V4 ? "192.0.2.1" : "fd00:192:0:2::1"); }
  static std::vector<model::Endpoint> at(const std::vector<std::string>& pods, Family family) {
    std::vector<model::Endpoint> all;
    for (const std::string& pod : pods) {
      all.push_back({.address = ip_of(pod, family), .port = 8080, .local = pod.substr(0, 4) == "pod1"});
    }
    return all;
  }
  static model::ServiceState web(Family family, const std::vector<std::string>& pods,
                                 model::Protocol protocol = model::Protocol::Tcp) {
    auto state = service("web", {cluster_ip(service_ip(family).to_string(), 80)}, at(pods, family), protocol);
    if (protocol == model::Protocol::Udp) state.key.name = "web-udp";
    return state;
  }
  static model::ServiceState exposed(Family family, const model::Frontend& frontend,
                                     const std::vector<std::string>& pods) {
    auto state = service("exposed", {frontend}, at(pods, family));
    state.ports[0].family = family;
    return state;
  }

  static std::vector<testbed::Attempt> connect(const std::string& from, testbed::ConnectSpec spec) {
    auto attempts = bed_->connect(from, spec);
    EXPECT_OK(attempts);
    return attempts ? *attempts : std::vector<testbed::Attempt>();
  }
  // "NAME saw SOURCE", or the error.
  static std::string ask(const std::string& from, const net::Ip& to, std::uint16_t port,
                         Transport transport = Transport::Tcp) {
    const auto attempts = connect(from, {.to = {to, port, transport}, .timeout_ms = 700});
    if (attempts.empty()) return "nothing";
    return attempts[0].error.empty() ? cat(attempts[0].answer, " saw ", attempts[0].source) : attempts[0].error;
  }
  static std::string run(std::vector<std::string> arguments) {
    auto output = bed_->run("node1", arguments);
    EXPECT_OK(output);
    EXPECT_EQ(output ? output->exit_code : -1, 0) << (output ? output->err : "");
    return output ? output->out : "";
  }
  static std::string program(Family family, std::string_view what, Flavour flavour = GetParam()) {
    return cat(family == Family::V4 ? "iptables-" : "ip6tables-", to_string(flavour), what);
  }
  // Waits for the timer and looks, until something was written.
  bool repaired() {
    for (int ticks = 0; ticks < 40; ++ticks) {
      pollfd wait{.fd = dataplane_->notification_fd(), .events = POLLIN, .revents = 0};
      if (::poll(&wait, 1, 5000) <= 0) return false;
      std::uint64_t writes = 0;
      EXPECT_OK(bed_->run_in("node1", [&]() -> Status {
        writes = dataplane_->handle_notification().kernel_writes;
        return {};
      }));
      if (writes > 0) return true;
    }
    return false;
  }

  static std::unique_ptr<Testbed> bed_;
  model::NodeState state_;
  std::unique_ptr<Dataplane> dataplane_;
};
std::unique_ptr<Testbed> IptablesKernel::bed_;

INSTANTIATE_TEST_SUITE_P(Flavours, IptablesKernel, testing::Values(Flavour::Nft, Flavour::Legacy),
                         [](const auto& flavour) { return std::string(to_string(flavour.param)); });

TEST_P(IptablesKernel, TheProbeFindsBothFamiliesAndLeavesNoChains) {
  Probe found;
  ASSERT_OK(bed_->run_in("node1", [&]() -> Status {
    found = probe(options());
    EXPECT_FALSE(has_traces(options()));
    return {};
  }));
  EXPECT_TRUE(found.usable);
  EXPECT_EQ(found.reason, cat("iptables-", to_string(GetParam()), " (asked for) for IPv4 and IPv6"));
  for (const Family family : kFamilies) EXPECT_EQ(run({program(family, "-save")}).find("KUBE-"), std::string::npos);
}

TEST_P(IptablesKernel, EveryEndpointGetsItsShare) {
  for (const Family family : kFamilies) {
    replace({web(family, {"pod1b", "pod1c", "pod2a"})});
    std::map<std::string, int> counts;
    for (const auto& attempt : connect("pod1a", {.to = {service_ip(family), 80, Transport::Tcp}, .count = 900})) {
      EXPECT_EQ(attempt.error, "");
      EXPECT_EQ(attempt.source, ip_of("pod1a", family).to_string());
      ++counts[attempt.answer];
    }
    // Three equal shares of 900: 300 each, standard deviation 14.
    EXPECT_EQ(counts.size(), 3U);
    for (const auto& [name, count] : counts) EXPECT_NEAR(count, 300, 75) << name;
  }
}

TEST_P(IptablesKernel, AServiceWithoutEndpointsRefusesAtOnceAndComesToLife) {
  for (const Family family : kFamilies) {
    replace({web(family, {}), web(family, {}, model::Protocol::Udp), exposed(family, node_port(30080), {})});
    for (const std::string from : {"pod1a", "node1"}) {
      EXPECT_EQ(ask(from, service_ip(family), 80), "refused") << from;
      EXPECT_EQ(ask(from, service_ip(family), 80, Transport::Udp), "refused") << from;
    }
    EXPECT_EQ(ask("client", ip_of("node1", family), 30080), "refused");
    replace({web(family, {"pod2a"}), web(family, {"pod2b"}, model::Protocol::Udp)});
    for (const std::string from : {"pod1a", "node1"}) {
      const std::string seen = ip_of(from, family).to_string();
      EXPECT_EQ(ask(from, service_ip(family), 80), cat("pod2a saw ", seen));
      EXPECT_EQ(ask(from, service_ip(family), 80, Transport::Udp), cat("pod2b saw ", seen));
    }
  }
}

TEST_P(IptablesKernel, UnknownPortsAreRefusedAndUnknownAddressesSilent) {
  state_.service_cidrs = {prefix("10.96.0.0/12"), prefix("fd00:10:96::/112")};
  for (const Family family : kFamilies) {
    replace({web(family, {"pod2a"})});
    for (const std::string from : {"pod1a", "node1"}) {
      EXPECT_EQ(ask(from, service_ip(family), 81), "refused") << from;
      EXPECT_EQ(ask(from, service_ip(family), 81, Transport::Udp), "refused") << from;
      EXPECT_EQ(ask(from, ip(family == Family::V4 ? "10.96.0.2" : "fd00:10:96::2"), 80), "timeout") << from;
    }
  }
}

TEST_P(IptablesKernel, StrangersAreMasqueradedAtAClusterIpAndPodsAreNot) {
  for (const Family family : kFamilies) {
    auto state = web(family, {"pod2a"});
    state.ports[0].frontends[0].masquerade = model::Masquerade::OffCluster;
    replace({state});
    EXPECT_EQ(ask("client", service_ip(family), 80), cat("pod2a saw ", ip_of("node1", family).to_string()));
    EXPECT_EQ(ask("pod1a", service_ip(family), 80), cat("pod2a saw ", ip_of("pod1a", family).to_string()));
  }
}

TEST_P(IptablesKernel, PodsAreToldByTheBeginningOfTheirInterfacesName) {
  state_.pods = {.sources = {}, .interface = "veth", .interface_is_prefix = true};
  for (const Family family : kFamilies) {
    auto state = web(family, {"pod2a"});
    state.ports[0].frontends[0].masquerade = model::Masquerade::OffCluster;
    replace({state, exposed(family, local(node_port(30080)), {"pod2b"})});
    const std::string node = ip_of("node1", family).to_string();
    const std::string pod = ip_of("pod1a", family).to_string();
    EXPECT_EQ(ask("client", service_ip(family), 80), cat("pod2a saw ", node));
    EXPECT_EQ(ask("node1", service_ip(family), 80), cat("pod2a saw ", node));
    EXPECT_EQ(ask("pod1a", service_ip(family), 80), cat("pod2a saw ", pod));
    EXPECT_EQ(ask("pod1a", ip_of("node1", family), 30080), cat("pod2b saw ", pod));
    EXPECT_EQ(ask("client", ip_of("node1", family), 30080), "timeout");
  }
}

TEST_P(IptablesKernel, ANodePortMasqueradesAndAPodReachesItself) {
  for (const Family family : kFamilies) {
    const net::Ip node = ip_of("node1", family);
    replace({exposed(family, node_port(30080), {"pod2a"}), web(family, {"pod1a"})});
    for (const std::string from : {"client", "pod1a", "node1"}) {
      EXPECT_EQ(ask(from, node, 30080), cat("pod2a saw ", node.to_string())) << from;
    }
    const std::string itself = ask("pod1a", service_ip(family), 80);
    EXPECT_EQ(itself.substr(0, 10), "pod1a saw ");
    EXPECT_NE(itself, cat("pod1a saw ", ip_of("pod1a", family).to_string()));
  }
}

TEST_P(IptablesKernel, ALocalPolicyKeepsTheClientsAddressAndShortCircuitsPodsAndTheNode) {
  for (const Family family : kFamilies) {
    const net::Ip node = ip_of("node1", family);
    replace({exposed(family, local(node_port(30080)), {"pod1a"})});
    EXPECT_EQ(ask("client", node, 30080), cat("pod1a saw ", ip_of("client", family).to_string()));
    replace({exposed(family, local(node_port(30080)), {"pod2a"})});
    EXPECT_EQ(ask("client", node, 30080), "timeout");
    EXPECT_EQ(ask("pod1a", node, 30080), cat("pod2a saw ", ip_of("pod1a", family).to_string()));
    EXPECT_EQ(ask("node1", node, 30080), cat("pod2a saw ", node.to_string()));
  }
}

TEST_P(IptablesKernel, ARestrictedAddressIsForTheAllowedWithAndWithoutEndpoints) {
  for (const Family family : kFamilies) {
    auto state = exposed(family, restricted(load_balancer(external_ip(family).to_string(), 80)), {"pod2a"});
    state.ports[0].allowed_sources = {host(ip_of("client", family))};
    replace({state});
    EXPECT_EQ(ask("client", external_ip(family), 80).substr(0, 5), "pod2a");
    EXPECT_EQ(ask("pod1a", external_ip(family), 80), "timeout");
    EXPECT_EQ(ask("node1", external_ip(family), 80), "timeout");
    state.ports[0].cluster_endpoints.clear();
    replace({state});
    EXPECT_EQ(ask("client", external_ip(family), 80), "refused");
    EXPECT_EQ(ask("pod1a", external_ip(family), 80), "timeout");
  }
}

TEST_P(IptablesKernel, NodePortsAnswerOnLoopbackOnlyWhenAskedTo) {
  replace({exposed(Family::V4, node_port(30080), {"pod2a"})});
  EXPECT_EQ(ask("node1", ip("127.0.0.1"), 30080), "refused");
  state_.localhost_node_ports = true;
  replace({exposed(Family::V4, node_port(30080), {"pod2a"})});
  EXPECT_EQ(ask("node1", ip("127.0.0.1"), 30080), cat("pod2a saw ", ip_of("node1", Family::V4).to_string()));
  replace({exposed(Family::V6, node_port(30080), {"pod2a"})});
  EXPECT_EQ(ask("node1", ip("::1"), 30080), "refused");
}

TEST_P(IptablesKernel, AClientStaysWithItsEndpoint) {
  for (const Family family : kFamilies) {
    auto state = web(family, {"pod1b", "pod1c", "pod2a"});
    state.ports[0].affinity_seconds = 100;
    replace({state});
    std::map<std::string, int> answers;
    for (const auto& attempt : connect("pod1a", {.to = {service_ip(family), 80, Transport::Tcp}, .count = 30})) {
      ++answers[attempt.answer];
    }
    EXPECT_EQ(answers.size(), 1U);
    // Its endpoint goes: another one takes over.
    std::vector<std::string> rest;
    for (const std::string pod : {"pod1b", "pod1c", "pod2a"}) {
      if (!answers.contains(pod)) rest.push_back(pod);
    }
    state.ports[0].cluster_endpoints = at(rest, family);
    replace({state});
    EXPECT_EQ(ask("pod1a", service_ip(family), 80).substr(0, 3), "pod");
  }
}

TEST_P(IptablesKernel, AHealthCheckGetsThroughAClosedFirewall) {
  auto state = exposed(Family::V4, node_port(30080), {"pod2a"});
  run({program(Family::V4, ""), "-P", "INPUT", "DROP"});
  replace({state});
  EXPECT_EQ(ask("client", ip_of("node1", Family::V4), 8099), "timeout");
  state.health_check_node_port = 8099;
  replace({state});
  EXPECT_EQ(ask("client", ip_of("node1", Family::V4), 8099).substr(0, 5), "node1");
  run({program(Family::V4, ""), "-P", "INPUT", "ACCEPT"});
}

TEST_P(IptablesKernel, ARestartAdoptsEverythingAndWritesNothing) {
  state_.localhost_node_ports = true;
  state_.service_cidrs = {prefix("10.96.0.0/12"), prefix("fd00:10:96::/112")};
  for (const bool by_interface : {false, true}) {
    if (by_interface) state_.pods = {.sources = {}, .interface = "cali", .interface_is_prefix = true};
    std::vector<model::ServiceState> services;
    for (const Family family : kFamilies) {
      auto sticky = web(family, {"pod1b", "pod2a"}, model::Protocol::Udp);
      sticky.ports[0].affinity_seconds = 10800;
      sticky.key.name = cat("sticky", net::to_string(family));
      auto closed = exposed(family, restricted(local(load_balancer(external_ip(family).to_string(), 80))), {});
      closed.key.name = cat("closed", net::to_string(family));
      closed.ports[0].allowed_sources = {prefix("198.51.100.0/24"), prefix("2001:db8::/32")};
      closed.ports[0].frontends[0].when_empty = model::WhenEmpty::Reject;
      auto web_state = web(family, {"pod1b", "pod1c", "pod2a"});
      web_state.key.name = cat("web", net::to_string(family));
      web_state.ports[0].frontends[0].masquerade = model::Masquerade::OffCluster;
      auto many = exposed(family, local(node_port(30000)), {"pod1a", "pod2a"});
      many.key.name = cat("many", net::to_string(family));
      for (std::uint16_t port = 31000; port < 31040; ++port) many.ports[0].frontends.push_back(node_port(port));
      many.health_check_node_port = 8099;
      for (auto& each : {sticky, closed, web_state, many}) services.push_back(each);
    }
    replace(services);
    start();
    EXPECT_EQ(replace(services).kernel_writes, 0U);
  }
}

TEST_P(IptablesKernel, WhatSomebodyElseBreaksIsRepaired) {
  const std::vector<model::ServiceState> services{web(Family::V4, {"pod2a"}),
                                                  exposed(Family::V4, node_port(30080), {})};
  replace(services);
  const std::string iptables = program(Family::V4, "");
  const std::vector<std::vector<std::string>> attacks{
      {iptables, "-t", "nat", "-F"},
      {iptables, "-t", "nat", "-F", "PREROUTING"},
      {iptables, "-t", "filter", "-F", "KUBE-EXTERNAL-SERVICES"},
      {iptables, "-t", "nat", "-I", "KUBE-SERVICES", "-j", "RETURN"},
  };
  for (const auto& attack : attacks) {
    run(attack);
    EXPECT_TRUE(repaired()) << base::join(attack, " ");
    EXPECT_EQ(ask("pod1a", service_ip(Family::V4), 80).substr(0, 5), "pod2a") << base::join(attack, " ");
    EXPECT_EQ(ask("client", ip_of("node1", Family::V4), 30080), "refused") << base::join(attack, " ");
    EXPECT_EQ(replace(services).kernel_writes, 0U) << base::join(attack, " ");
  }
  run({iptables, "-t", "nat", "-F"});  // noticed by a change instead
  apply({{web(Family::V4, {"pod2b"})}, {}});
  EXPECT_EQ(ask("pod1a", service_ip(Family::V4), 80).substr(0, 5), "pod2b");
}

TEST_P(IptablesKernel, ChangesAndRestartsLoseNoConnection) {
  const std::vector<model::ServiceState> services{web(Family::V4, {"pod1b", "pod2a"})};
  replace(services);
  auto load = bed_->start_load(
      "pod1a", {.to = {service_ip(Family::V4), 80, Transport::Tcp}, .parallel = 2, .rate = 200, .report_every_ms = 20});
  ASSERT_OK(load);
  for (int i = 0; i < 40; ++i) {
    ASSERT_OK((*load)->next_report(std::chrono::seconds(5)));  // some requests for each change
    apply(
        {{web(Family::V4, i % 2 == 0 ? std::vector<std::string>{"pod1b"} : std::vector<std::string>{"pod1b", "pod2a"})},
         {}});
    if (i == 5) start();
    if (i == 5) replace(services);
  }
  const auto counts = (*load)->stop();
  ASSERT_OK(counts);
  EXPECT_EQ(counts->failed(), 0U) << *counts;
  EXPECT_GT(counts->answered, 20U);
}

TEST_P(IptablesKernel, AChangeOfFlavourTakesTheOldRulesOut) {
  replace({web(Family::V4, {"pod2a"})});
  const Flavour other = GetParam() == Flavour::Nft ? Flavour::Legacy : Flavour::Nft;
  EXPECT_EQ(run({program(Family::V4, "-save", other)}).find("KUBE-SVC-"), std::string::npos);
  dataplane_.reset();
  ASSERT_OK(bed_->run_in("node1", [&]() -> Status {
    Options changed;
    changed.iptables_flavour = to_string(other);
    dataplane_ = TRY(open(changed));
    return {};
  }));
  replace({web(Family::V4, {"pod2b"})});
  EXPECT_EQ(run({program(Family::V4, "-save"), "-t", "nat"}).find("KUBE-"), std::string::npos);
  EXPECT_EQ(ask("pod1a", service_ip(Family::V4), 80).substr(0, 5), "pod2b");
}

TEST_P(IptablesKernel, RemoveLeavesNothingButTheGuard) {
  state_.localhost_node_ports = true;
  replace({web(Family::V4, {"pod2a"}), exposed(Family::V6, node_port(30080), {"pod2a"})});
  ASSERT_OK(bed_->run_in("node1", [&] { return dataplane_->remove(); }));
  const std::string filter = run({program(Family::V4, "-save"), "-t", "filter"});
  EXPECT_NE(filter.find("-A KUBE-FIREWALL "), std::string::npos);
  EXPECT_EQ(filter.find("KUBE-SERVICES"), std::string::npos);
  EXPECT_EQ(run({program(Family::V4, "-save"), "-t", "nat"}).find("KUBE-"), std::string::npos);
  EXPECT_EQ(run({program(Family::V6, "-save")}).find("KUBE-"), std::string::npos);
  ASSERT_OK(bed_->run_in("node1", [&]() -> Status {
    EXPECT_FALSE(has_traces(options()));
    return {};
  }));
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::iptables
