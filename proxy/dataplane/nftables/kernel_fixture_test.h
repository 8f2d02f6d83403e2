// A testbed, the dataplane on its node1, and words for kernel tests.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "net/nft/netlink.h"
#include "proxy/dataplane/nftables/nftables.h"
#include "proxy/dataplane/nftables/test_states.h"
#include "tests/datapath/assert_ok.h"
#include "tests/datapath/testbed.h"

namespace fairlead::proxy::dataplane::nftables {

using namespace test;
using base::cat;
using net::Family;
using testbed::Testbed;
using testbed::Transport;

inline constexpr Family kBothFamilies[] = {Family::V4, Family::V6};

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
  void replace(const std::vector<model::ServiceState>& services, const model::NodeState& node = {}) {
    const Report report = dataplane_->replace(node, services);
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
  static std::string saw(const std::string& server, const net::Ip& source) {
    return cat(server, " saw ", source.to_string());
  }
  bool notified(int timeout_ms) const {
    pollfd wait{.fd = dataplane_->notification_fd(), .events = POLLIN, .revents = 0};
    return ::poll(&wait, 1, timeout_ms) > 0;
  }

  inline static std::unique_ptr<Testbed> bed_;
  std::unique_ptr<Dataplane> dataplane_;
};

}  // namespace fairlead::proxy::dataplane::nftables
