// The dataplane on a real kernel: connections between namespaces, and `nft` as a second opinion.
#include <gtest/gtest.h>
#include <poll.h>

#include <map>

#include "base/strings.h"
#include "proxy/dataplane/nftables/nftables.h"
#include "proxy/dataplane/nftables/test_states.h"
#include "tests/datapath/assert_ok.h"
#include "tests/datapath/testbed.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

using namespace test;
using base::cat;
using net::Family;
using testbed::Testbed;
using testbed::Transport;

constexpr Family kFamilies[] = {Family::V4, Family::V6};

class NftablesKernel : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto created = Testbed::create({.nodes = 2, .pods_per_node = 3});
    ASSERT_OK(created);
    bed_ = std::move(*created);
    for (const auto* pod : bed_->pods()) ASSERT_OK(bed_->serve(pod->name, {"[::]:8080/tcp", "[::]:8080/udp"}));
  }
  static void TearDownTestSuite() { bed_.reset(); }

  void SetUp() override { start(); }
  void TearDown() override {
    if (dataplane_ != nullptr) EXPECT_OK(dataplane_->remove());
  }

  // A start of the agent on node1.
  void start() {
    dataplane_.reset();
    ASSERT_OK(bed_->run_in("node1", [&]() -> Status {
      dataplane_ = TRY(open(Options()));
      return {};
    }));
  }
  void replace(const std::vector<model::ServiceState>& services) {
    const Report report = dataplane_->replace({}, services);
    ASSERT_TRUE(report.ok()) << report.failures[0].error.message();
  }

  static net::Ip ip_of(const std::string& place, Family family) { return (*bed_->place(place))->ip(family); }
  static net::Ip service_ip(Family family) { return ip(family == Family::V4 ? "10.96.0.1" : "fd00:10:96::1"); }
  static std::vector<model::Endpoint> at(const std::vector<std::string>& pods, Family family) {
    std::vector<model::Endpoint> all;
    all.reserve(pods.size());
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
  static model::ServiceState exposed(Family family, const std::vector<std::string>& pods, bool masquerade) {
    auto state = service("exposed", {node_port(30080, masquerade)}, at(pods, family));
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
  static std::string nft(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "nft");
    auto output = bed_->run("node1", arguments);
    EXPECT_OK(output);
    EXPECT_EQ(output ? output->exit_code : -1, 0) << (output ? output->err : "");
    return output ? output->out : "";
  }
  bool notified(int timeout_ms) const {
    pollfd wait{.fd = dataplane_->notification_fd(), .events = POLLIN, .revents = 0};
    return ::poll(&wait, 1, timeout_ms) > 0;
  }

  static std::unique_ptr<Testbed> bed_;
  std::unique_ptr<Dataplane> dataplane_;
};
std::unique_ptr<Testbed> NftablesKernel::bed_;

TEST_F(NftablesKernel, TheProbeFindsBothFamiliesAndLeavesNothing) {
  ASSERT_OK(dataplane_->remove());
  Probe found;
  ASSERT_OK(bed_->run_in("node1", [&]() -> Status {
    found = probe(Options());
    EXPECT_FALSE(has_traces(Options()));
    return {};
  }));
  EXPECT_TRUE(found.usable);
  EXPECT_EQ(found.reason, "nf_tables with maps, numgen, fib, nat and reject for IPv4 and IPv6");
  EXPECT_EQ(nft({"list", "tables"}), "");
}

TEST_F(NftablesKernel, EveryEndpointGetsItsShare) {
  for (Family family : kFamilies) {
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

TEST_F(NftablesKernel, TcpAndUdpAreBalancedFromPodsAndFromTheNode) {
  for (Family family : kFamilies) {
    replace({web(family, {"pod2a"}), web(family, {"pod2b"}, model::Protocol::Udp)});
    for (const std::string from : {"pod1a", "node1"}) {
      const std::string seen = ip_of(from, family).to_string();
      EXPECT_EQ(ask(from, service_ip(family), 80), cat("pod2a saw ", seen));
      EXPECT_EQ(ask(from, service_ip(family), 80, Transport::Udp), cat("pod2b saw ", seen));
    }
  }
}

TEST_F(NftablesKernel, AServiceWithoutEndpointsRefusesAtOnce) {
  for (Family family : kFamilies) {
    replace({web(family, {}), web(family, {}, model::Protocol::Udp), exposed(family, {}, true)});
    EXPECT_EQ(ask("pod1a", service_ip(family), 80), "refused");
    EXPECT_EQ(ask("pod1a", service_ip(family), 80, Transport::Udp), "refused");
    EXPECT_EQ(ask("node1", service_ip(family), 80), "refused");
    EXPECT_EQ(ask("node1", service_ip(family), 80, Transport::Udp), "refused");
    EXPECT_EQ(ask("client", ip_of("node1", family), 30080), "refused");
    // It comes to life, and dies again.
    replace({web(family, {"pod2a"})});
    EXPECT_EQ(ask("pod1a", service_ip(family), 80), cat("pod2a saw ", ip_of("pod1a", family).to_string()));
    replace({web(family, {})});
    EXPECT_EQ(ask("pod1a", service_ip(family), 80), "refused");
  }
}

TEST_F(NftablesKernel, AFrontendThatDropsIsSilent) {
  auto silent = web(Family::V4, {});
  silent.ports[0].frontends[0].when_empty = model::WhenEmpty::Drop;
  replace({silent});
  EXPECT_EQ(ask("pod1a", service_ip(Family::V4), 80), "timeout");
}

TEST_F(NftablesKernel, ANodePortShowsTheNodesAddressWhenMasquerading) {
  for (Family family : kFamilies) {
    const net::Ip node = ip_of("node1", family);
    replace({exposed(family, {"pod2a"}, true)});
    EXPECT_EQ(ask("client", node, 30080), cat("pod2a saw ", node.to_string()));
    EXPECT_EQ(ask("pod1a", node, 30080), cat("pod2a saw ", node.to_string()));
    EXPECT_EQ(ask("node1", node, 30080), cat("pod2a saw ", node.to_string()));
    replace({exposed(family, {"pod1a"}, false)});
    EXPECT_EQ(ask("client", node, 30080), cat("pod1a saw ", ip_of("client", family).to_string()));
  }
}

TEST_F(NftablesKernel, ANodePortIsNotServedOnLoopback) {
  for (Family family : kFamilies) {
    replace({exposed(family, {"pod2a"}, true)});
    EXPECT_EQ(ask("node1", ip(family == Family::V4 ? "127.0.0.1" : "::1"), 30080), "refused");
  }
}

TEST_F(NftablesKernel, APodReachesItselfThroughItsService) {
  for (Family family : kFamilies) {
    replace({web(family, {"pod1a"}), web(family, {"pod1a"}, model::Protocol::Udp)});
    const std::string answer = ask("pod1a", service_ip(family), 80);
    EXPECT_EQ(answer.substr(0, 10), "pod1a saw ");
    EXPECT_NE(answer, cat("pod1a saw ", ip_of("pod1a", family).to_string()));
    EXPECT_EQ(ask("pod1a", service_ip(family), 80, Transport::Udp).substr(0, 10), "pod1a saw ");
  }
}

TEST_F(NftablesKernel, NftListsWhatWasWritten) {
  replace({web(Family::V4, {"pod1b", "pod2a"}), exposed(Family::V4, {}, true)});
  const std::string listing = nft({"list", "table", "ip", "fairlead"});
  for (const std::string line :
       {"10.96.0.1 . tcp . 80 : 0x00000002", "10.96.0.1 . tcp . 80 . 0x00000001 : 10.244.2.10 . 8080",
        "tcp . 30080 : 0x10000000", "10.244.1.11 . 10.244.1.11", "0x00000002 : goto n2", "fully-random"}) {
    EXPECT_NE(listing.find(line), std::string::npos) << line << " in\n" << listing;
  }
  EXPECT_NE(nft({"list", "ruleset"}).find("table ip6 fairlead"), std::string::npos);
}

TEST_F(NftablesKernel, ARestartWritesNothing) {
  const std::vector<model::ServiceState> services{web(Family::V4, {"pod1b", "pod2a"}), exposed(Family::V6, {}, true),
                                                  web(Family::V6, {"pod1a"}, model::Protocol::Udp)};
  replace(services);
  const std::string before = dump_text(*dataplane_);
  start();
  EXPECT_EQ(dataplane_->replace({}, services).kernel_writes, 0U);
  EXPECT_EQ(dump_text(*dataplane_), before);
}

TEST_F(NftablesKernel, OwnChangesDoNotWakeUs) {
  replace({web(Family::V4, {"pod1b", "pod2a"})});
  EXPECT_TRUE(dataplane_->apply({{web(Family::V4, {"pod1b"})}, {}}).ok());
  EXPECT_FALSE(notified(50));
  nft({"add", "table", "ip", "theirs"});
  EXPECT_TRUE(notified(5000));
  EXPECT_EQ(dataplane_->handle_notification().kernel_writes, 0U);
  EXPECT_FALSE(notified(0));
  nft({"delete", "table", "ip", "theirs"});
}

TEST_F(NftablesKernel, WhatSomebodyElseBreaksIsRepaired) {
  const std::vector<model::ServiceState> services{web(Family::V4, {"pod1b", "pod2a"}), exposed(Family::V4, {}, true)};
  const std::vector<std::vector<std::string>> attacks{
      {"flush", "ruleset"},
      {"delete", "table", "ip", "fairlead"},
      {"flush", "chain", "ip", "fairlead", "n2"},
      {"flush", "map", "ip", "fairlead", "endpoints"},
      {"delete", "element", "ip", "fairlead", "services", "{ 10.96.0.1 . tcp . 80 }"},
      {"insert", "rule", "ip", "fairlead", "nat_prerouting", "counter", "accept"},
      {"flush", "set", "ip", "fairlead", "hairpin"},
  };
  replace(services);
  const std::string before = dump_text(*dataplane_);
  for (const auto& attack : attacks) {
    nft(attack);
    ASSERT_TRUE(notified(5000)) << base::join(attack, " ");
    const Report report = dataplane_->handle_notification();
    EXPECT_TRUE(report.ok());
    EXPECT_GT(report.kernel_writes, 0U) << base::join(attack, " ");
    EXPECT_EQ(dump_text(*dataplane_), before);
    EXPECT_EQ(ask("pod1a", service_ip(Family::V4), 80).substr(0, 3), "pod");
    EXPECT_FALSE(notified(0));
    EXPECT_EQ(dataplane_->replace({}, services).kernel_writes, 0U) << base::join(attack, " ");
  }
  nft({"flush", "ruleset"});  // noticed by a change instead
  EXPECT_TRUE(dataplane_->apply({{web(Family::V4, {"pod1b"})}, {}}).ok());
  EXPECT_EQ(ask("pod1a", service_ip(Family::V4), 80).substr(0, 5), "pod1b");
}

TEST_F(NftablesKernel, ReplacingTheTableLosesNoConnection) {
  const std::vector<model::ServiceState> services{web(Family::V4, {"pod1b", "pod2a"})};
  replace(services);
  const testbed::Target to{service_ip(Family::V4), 80, Transport::Tcp};
  auto fresh = bed_->start_load("pod1a", {.to = to, .parallel = 2, .rate = 1000});
  ASSERT_OK(fresh);
  auto lasting = bed_->start_load("pod1a", {.to = to, .long_lived = true, .parallel = 2, .rate = 200});
  ASSERT_OK(lasting);
  for (int i = 0; i < 20; ++i) {
    nft({"add", "chain", "ip", "fairlead", cat("theirs", i)});
    ASSERT_TRUE(notified(5000));
    EXPECT_GT(dataplane_->handle_notification().kernel_writes, 0U);
  }
  for (auto* load : {&*fresh, &*lasting}) {
    const auto counts = (*load)->stop();
    ASSERT_OK(counts);
    EXPECT_EQ(counts->failed(), 0U) << *counts;
    EXPECT_GT(counts->answered, 20U);
  }
}

TEST_F(NftablesKernel, TenThousandServicesAreWrittenAdoptedAndChanged) {
  std::vector<model::ServiceState> services;
  for (int i = 0; i < 10000; ++i) {
    auto endpoints = std::vector<model::Endpoint>();
    for (int e = 0; e < 10; ++e) {
      endpoints.push_back({.address = net::Ip::v4(10, 200, static_cast<std::uint8_t>(i >> 4 & 255),
                                                  static_cast<std::uint8_t>((i & 15) * 10 + e)),
                           .port = static_cast<std::uint16_t>(1000 + (i >> 12))});
    }
    services.push_back(service(cat("s", i), {cluster_ip(cat("10.97.", i >> 8, ".", i & 255), 80)}, endpoints));
  }
  services.push_back(web(Family::V4, {"pod2a"}));
  replace(services);
  EXPECT_EQ(ask("pod1a", service_ip(Family::V4), 80).substr(0, 5), "pod2a");
  start();
  EXPECT_EQ(dataplane_->replace({}, services).kernel_writes, 0U);
  EXPECT_EQ(dataplane_->apply({{web(Family::V4, {"pod2b"})}, {}}).kernel_writes, 2U);
  EXPECT_EQ(ask("pod1a", service_ip(Family::V4), 80).substr(0, 5), "pod2b");
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::nftables
