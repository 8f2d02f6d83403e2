// Runs scenarios() on every dataplane and family: Scenarios/ebpf_v4.ClusterIpReachesEveryEndpoint and so on.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "base/strings.h"
#include "tests/datapath/assert_ok.h"
#include "tests/datapath/driver.h"
#include "tests/datapath/in_process_driver.h"
#include "tests/datapath/probe/sockets.h"
#include "tests/datapath/scenarios.h"

namespace fairlead::testbed {
namespace {

using base::cat;
using net::Family;

constexpr unsigned kBatch = 12;          // attempts at once until every endpoint has answered
constexpr unsigned kMostAttempts = 300;  // with 3 endpoints, missing one of them by chance: 1 in 10^52
constexpr unsigned kAtOnceUs = 400'000;  // a refusal is an answer of the nearest node, not of a retry (1 s for TCP)

bool kernel_has_sctp() { return probe::open_socket(AF_INET, Transport::Sctp).has_value(); }

// One testbed for all scenarios of this process, and one driver at a time.
class Cluster {
 public:
  Status use(const std::string& dataplane) {
    if (!testbed_) TRY(build());
    if (driver_ && dataplane_ == dataplane) return {};
    TRY(stop_driver());
    dataplane_ = dataplane;
    const char* chosen = std::getenv("FAIRLEAD_TEST_DRIVER");
    if (chosen != nullptr && std::string_view(chosen) == "in-process") {
      driver_ = TRY(in_process_driver(*testbed_, dataplane));
    } else {
      driver_ = TRY(AgentDriver::create(*testbed_, dataplane));
    }
    return {};
  }
  Testbed& testbed() { return *testbed_; }
  Driver& driver() { return *driver_; }
  void give_up_driver() { driver_.reset(); }  // the next scenario begins with a new one
  unsigned take_number() { return next_number_++; }
  Status remove() {
    Status stopped = stop_driver();
    testbed_.reset();
    return stopped;
  }

 private:
  Status stop_driver() {
    const std::unique_ptr<Driver> driver = std::move(driver_);
    return driver ? driver->stop() : Status();
  }

  Status build() {
    auto testbed = TRY(Testbed::create());
    for (const Place* pod : testbed->pods()) TRY(testbed->serve(pod->name, pod_listeners(kernel_has_sctp())));
    TRY(testbed->serve("node2", {cat("[::]:", kHostNetworkPort, "/tcp")}));
    // Service addresses that the world outside reaches are routed to a node.
    TRY(testbed->route_via_node("client", *net::Prefix::parse("192.0.2.0/24"), 1));
    TRY(testbed->route_via_node("client", *net::Prefix::parse("fd00:192:0:2::/64"), 1));
    TRY(testbed->route_via_node("client", *net::Prefix::parse("198.51.100.0/24"), 2));
    TRY(testbed->route_via_node("client", *net::Prefix::parse("fd00:198:51:100::/64"), 2));
    testbed_ = std::move(testbed);
    return {};
  }

  std::unique_ptr<Testbed> testbed_;
  std::unique_ptr<Driver> driver_;
  std::string dataplane_;
  unsigned next_number_ = 0;
};

// Removes the cluster when all tests have run, before the process ends.
class ClusterEnvironment final : public testing::Environment {
 public:
  explicit ClusterEnvironment(std::shared_ptr<Cluster> cluster) : cluster_(std::move(cluster)) {}
  void TearDown() override { EXPECT_OK(cluster_->remove()); }

 private:
  std::shared_ptr<Cluster> cluster_;
};

class ScenarioTest : public testing::Test {
 public:
  ScenarioTest(std::shared_ptr<Cluster> cluster, const Scenario& scenario, std::string dataplane, Family family)
      : cluster_(std::move(cluster)), scenario_(scenario), dataplane_(std::move(dataplane)), family_(family) {}

 protected:
  void TestBody() override {
    if (const std::string missing = what_is_missing(); !missing.empty()) GTEST_SKIP() << missing;
    ASSERT_OK(cluster_->use(dataplane_));
    for (std::size_t i = 0; i < scenario_.phases.size() && !HasFailure(); ++i) {
      SCOPED_TRACE(cat("phase ", i + 1));
      ASSERT_OK(put_in_force(scenario_.phases[i].given));
      for (const Check& check : scenario_.phases[i].expect) run(check);
    }
    if (HasFailure()) std::cout << cluster_->driver().diagnosis() << std::endl;
    services_.clear();
    ASSERT_OK(put_in_force({}));
  }

 private:
  // Why the scenario cannot be played here; empty: it can.
  std::string what_is_missing() const {
    if (scenario_.needs == Needs::Sctp && !kernel_has_sctp()) return "this kernel has no SCTP sockets (CONFIG_IP_SCTP)";
    return "";
  }

  Status put_in_force(const std::vector<ServiceSpec>& services) {
    std::vector<base::Value> objects;
    for (const ServiceSpec& spec : services) {
      auto& known = services_[spec.name];
      if (known.first.number == 0) known.first.number = cluster_->take_number() + 1;
      known.second = spec;
      for (base::Value& object : TRY(manifests(spec, known.first, family_, cluster_->testbed()))) {
        objects.push_back(std::move(object));
      }
    }
    Status applied = cluster_->driver().apply(std::move(objects));
    if (!applied) cluster_->give_up_driver();
    return applied;
  }

  Target target_of(const To& to) const {
    const auto& [addresses, spec] = services_.at(to.service);
    const PortSpec* port = spec.port(to.port);
    if (port == nullptr) ADD_FAILURE() << "the scenario's service has no port \"" << to.port << "\"";
    const PortSpec named = port != nullptr ? *port : PortSpec{};
    const auto index = static_cast<std::size_t>(std::max<std::ptrdiff_t>(0, port - spec.ports.data()));
    switch (to.kind) {
      case To::Kind::ClusterIp: return {addresses.cluster_ip(family_), named.port, named.transport};
      case To::Kind::ExternalIp: return {addresses.external_ip(family_), named.port, named.transport};
      case To::Kind::LoadBalancerIp: return {addresses.load_balancer_ip(family_), named.port, named.transport};
      case To::Kind::NodePort: return {node_ip(to.node), addresses.node_port(index), named.transport};
    }
    return {};
  }

  net::Ip node_ip(unsigned node) const { return (*cluster_->testbed().place(cat("node", node)))->ip(family_); }

  Result<std::vector<Attempt>> attempts(const Check& check, unsigned count, unsigned timeout_ms) {
    const Target target = target_of(check.target);
    const bool udp = target.transport == Transport::Udp;
    return cluster_->testbed().connect(
        check.client,
        {.to = target,
         .style = check.style,
         .count = count,
         .parallel = check.bytes != 0 ? 1 : std::min(count, 4U),
         .timeout_ms = timeout_ms,
         .source_port = udp ? cluster_->testbed().take_source_ports(count) : std::uint16_t{0},
         .bytes = check.bytes,
         .requests = check.requests},
        check.membership);
  }

  void run(const Check& check) {
    SCOPED_TRACE(cat("from ", check.client, check.membership == Membership::Outside ? " (outside the cgroup)" : "",
                     " to ", target_of(check.target).to_string()));
    switch (check.outcome) {
      case Check::Outcome::Answered: return expect_answered(check);
      case Check::Outcome::Refused: return expect_refused(check);
      case Check::Outcome::Unanswered: return expect_unanswered(check);
    }
  }

  void expect_answered(const Check& check) {
    ASSERT_FALSE(check.endpoints.empty()) << "the scenario names nobody who answers";
    std::set<std::string> waiting(check.endpoints.begin(), check.endpoints.end());
    for (unsigned done = 0; done < kMostAttempts && !waiting.empty() && !HasFailure(); done += kBatch) {
      const auto batch = attempts(check, check.bytes != 0 ? 3 : kBatch, 3000);
      ASSERT_OK(batch);
      for (const Attempt& attempt : *batch) {
        expect_good(check, attempt);
        if (HasFailure()) return;  // one of a dozen alike is enough to read
        waiting.erase(attempt.answer);
      }
    }
    if (!HasFailure()) {
      EXPECT_TRUE(waiting.empty()) << *waiting.begin() << " did not answer in " << kMostAttempts << " attempts";
    }
  }

  void expect_good(const Check& check, const Attempt& attempt) {
    ASSERT_EQ(attempt.error, "") << attempt;
    const auto& endpoints = check.endpoints;
    ASSERT_TRUE(std::find(endpoints.begin(), endpoints.end(), attempt.answer) != endpoints.end())
        << "no endpoint of the service: " << attempt;
    const ServiceSpec& spec = services_.at(check.target.service).second;
    const Target target = target_of(check.target);
    const Place& endpoint = **cluster_->testbed().place(attempt.answer);
    const std::uint16_t port = spec.target_of(attempt.answer, *spec.port(check.target.port));
    EXPECT_EQ(attempt.local, net::host_port(endpoint.ip(family_), port)) << attempt;
    EXPECT_EQ(attempt.peer, net::host_port(target.ip, target.port)) << "the client sees another peer: " << attempt;
    const std::vector<std::string> sources = sources_of(check);
    EXPECT_TRUE(std::find(sources.begin(), sources.end(), attempt.source) != sources.end())
        << "allowed: " << base::join(sources, ", ") << "; " << attempt;
  }

  std::vector<std::string> sources_of(const Check& check) const {
    std::vector<std::string> sources;
    if (check.seen != Seen::Node) {
      sources.push_back((*cluster_->testbed().place(check.client))->ip(family_).to_string());
    }
    for (unsigned node = 1; node <= cluster_->testbed().nodes(); ++node) {
      const unsigned through = check.through_node != 0 ? check.through_node : check.target.node;
      const bool allowed = check.seen == Seen::ClientOrANode || (check.seen == Seen::Node && node == through);
      if (allowed) sources.push_back(node_ip(node).to_string());
    }
    return sources;
  }

  void expect_refused(const Check& check) {
    const auto results = attempts(check, 4, 3000);
    ASSERT_OK(results);
    for (const Attempt& attempt : *results) {
      ASSERT_EQ(attempt.error, "refused") << attempt;
      ASSERT_LT(attempt.latency_us, kAtOnceUs) << attempt;
    }
  }

  void expect_unanswered(const Check& check) {
    const auto results = attempts(check, 4, 200);
    ASSERT_OK(results);
    for (const Attempt& attempt : *results) EXPECT_EQ(attempt.answer, "") << attempt;
  }

  const std::shared_ptr<Cluster> cluster_;
  const Scenario& scenario_;
  const std::string dataplane_;
  const Family family_;
  std::map<std::string, std::pair<ServiceAddresses, ServiceSpec>> services_;
};

void register_scenarios() {
  const auto cluster = std::make_shared<Cluster>();
  testing::AddGlobalTestEnvironment(new ClusterEnvironment(cluster));  // gtest owns it
  for (const std::string dataplane : {"ebpf", "nftables", "iptables"}) {
    for (const Family family : {Family::V4, Family::V6}) {
      const std::string suite = cat("Scenarios/", dataplane, family == Family::V4 ? "_v4" : "_v6");
      for (const Scenario& scenario : scenarios()) {
        if (scenario.needs == Needs::IPv4 && family != Family::V4) continue;
        testing::RegisterTest(suite.c_str(), scenario.name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                              [cluster, &scenario, dataplane, family]() -> ScenarioTest* {
                                return new ScenarioTest(cluster, scenario, dataplane, family);
                              });
      }
    }
  }
}

// gtest_main calls RUN_ALL_TESTS itself; tests register before main, as TEST() does.
const bool registered = (register_scenarios(), true);

}  // namespace
}  // namespace fairlead::testbed
