// Life and death of the agent: what it leaves, what it finds again, and what a client notices of it (nothing).
#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>

#include "base/strings.h"
#include "proxy/dataplane/select.h"
#include "tests/datapath/assert_ok.h"
#include "tests/datapath/driver.h"
#include "tests/datapath/scenarios.h"

namespace fairlead::testbed {
namespace {

using base::cat;
using net::Family;

constexpr ServiceAddresses kWeb{.number = 1};
constexpr unsigned kWorkers = 2;    // of a load
constexpr unsigned kAttempts = 60;  // with two endpoints, missing one of them by chance: 1 in 10^18

bool eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    ::poll(nullptr, 0, 5);
  }
  return true;
}

// Two nodes with an agent each; the tests play with that of node1, whose clients are pod1a and "client".
class LifeTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto created = Testbed::create({.nodes = 2, .pods_per_node = 2});
    ASSERT_OK(created);
    bed_ = std::move(*created);
    for (const Place* pod : bed_->pods()) ASSERT_OK(bed_->serve(pod->name, pod_listeners(false)));
    auto driver = AgentDriver::create(*bed_, GetParam());
    ASSERT_OK(driver);
    driver_ = std::move(*driver);
    ASSERT_OK(driver_->apply(objects({"pod1b", "pod2a"})));
  }

  void TearDown() override {
    if (HasFailure() && driver_) std::cout << driver_->diagnosis() << std::endl;
    driver_.reset();  // what it left in the namespaces goes with them
  }

  AgentProcess& agent() { return driver_->agent(1); }

  // The Service "web", TCP and UDP with node ports, both families; and as many others beside it.
  std::vector<base::Value> objects(std::vector<std::string> endpoints, unsigned others = 0) {
    std::vector<base::Value> all;
    const auto add = [&](const ServiceBuilder& builder, const ServiceAddresses& addresses) {
      auto made = manifests(builder.in_both_families(), addresses, Family::V4, *bed_);
      EXPECT_OK(made);
      if (made) all.insert(all.end(), made->begin(), made->end());
    };
    const PortSpec tcp{.name = "t", .port = 80, .transport = Transport::Tcp, .target = 8080};
    const PortSpec udp{.name = "u", .port = 80, .transport = Transport::Udp, .target = 8080};
    const ServiceBuilder base = service("web").with_port(tcp).with_port(udp).with_endpoints(std::move(endpoints));
    add(base.as(Exposure::NodePort), kWeb);
    for (unsigned i = 0; i < others; ++i) add(base, {.number = 100 + i});
    return all;
  }

  Target cluster_ip(Transport transport = Transport::Tcp, Family family = Family::V4) const {
    return {kWeb.cluster_ip(family), 80, transport};
  }
  Target node_port(Transport transport = Transport::Tcp, Family family = Family::V4) const {
    const bool udp = transport == Transport::Udp;
    return {(*bed_->place("node1"))->ip(family), kWeb.node_port(udp ? 1 : 0), transport};
  }

  // Exactly `endpoints` answer, from inside and outside, in both families.
  void expect_answers_from(const std::vector<std::string>& endpoints) {
    for (const Family family : {Family::V4, Family::V6}) {
      for (const Transport transport : {Transport::Tcp, Transport::Udp}) {
        expect_answers_from(endpoints, "pod1a", cluster_ip(transport, family));
        expect_answers_from(endpoints, "client", node_port(transport, family));
      }
    }
  }

  void expect_answers_from(const std::vector<std::string>& endpoints, const std::string& client, const Target& target) {
    const bool udp = target.transport == Transport::Udp;
    const auto attempts =
        bed_->connect(client, {.to = target,
                               .count = kAttempts,
                               .parallel = 2,
                               .source_port = udp ? bed_->take_source_ports(kAttempts) : std::uint16_t{0}});
    ASSERT_OK(attempts);
    std::map<std::string, unsigned> outcomes;
    for (const Attempt& attempt : *attempts) ++outcomes[attempt.error.empty() ? attempt.answer : attempt.error];
    std::vector<std::string> seen;
    for (const auto& [outcome, count] : outcomes) seen.push_back(outcome);
    EXPECT_EQ(seen, endpoints) << "from " << client << " to " << target.to_string();
  }

  std::unique_ptr<Load> start_load(const std::string& from, const Target& to, bool long_lived) {
    auto load = bed_->start_load(
        from,
        {.to = to, .long_lived = long_lived, .parallel = 2, .rate = 200, .timeout_ms = 3000, .report_every_ms = 20});
    EXPECT_OK(load);
    if (!load) return nullptr;
    EXPECT_TRUE(eventually([&] {
      const auto report = (*load)->next_report(std::chrono::seconds(5));
      return report && report->answered > 0;
    }));
    return *std::move(load);
  }

  std::unique_ptr<Testbed> bed_;
  std::unique_ptr<AgentDriver> driver_;
};

// Loads that run side by side.
class Loads {
 public:
  void add(std::string what, std::unique_ptr<Load> load) { loads_.emplace_back(std::move(what), std::move(load)); }
  void expect_nothing_lost() { expect_at_most_lost(0); }
  void expect_at_most_lost(unsigned limit) {
    for (auto& [what, load] : loads_) {
      ASSERT_NE(load, nullptr) << what;
      const auto report = load->stop();
      ASSERT_OK(report);
      EXPECT_LE(report->failed(), limit) << what << ": " << *report;
      EXPECT_GT(report->answered, 0U) << what;
      if (report->failed() > 0) std::cout << what << ": " << *report << std::endl;
    }
  }

 private:
  std::vector<std::pair<std::string, std::unique_ptr<Load>>> loads_;
};

TEST_P(LifeTest, TheDataplaneOutlivesItsAgent) {
  const auto load = start_load("pod1a", cluster_ip(), true);
  ASSERT_OK(agent().terminate());
  expect_answers_from({"pod1b", "pod2a"});
  const auto report = load->stop();
  ASSERT_OK(report);
  EXPECT_EQ(report->failed(), 0U) << *report;
}

TEST_P(LifeTest, ARestartWritesNothing) {
  ASSERT_OK(agent().terminate());
  ASSERT_OK(agent().start());
  const auto after_term = agent().status();
  ASSERT_OK(after_term);
  EXPECT_EQ(after_term->kernel_writes, 0U) << after_term->text;
  agent().kill();
  ASSERT_OK(agent().start());
  const auto after_kill = agent().status();
  ASSERT_OK(after_kill);
  EXPECT_EQ(after_kill->kernel_writes, 0U) << after_kill->text;
  expect_answers_from({"pod1b", "pod2a"});
}

TEST_P(LifeTest, ARestartBringsInWhatChangedMeanwhile) {
  ASSERT_OK(agent().terminate());
  ASSERT_OK(driver_->write(objects({"pod2b"})));
  ASSERT_OK(agent().start());
  expect_answers_from({"pod2b"});
  ASSERT_OK(agent().terminate());
  ASSERT_OK(driver_->write({}));
  ASSERT_OK(agent().start());
  const auto deleted = bed_->connect("pod1a", {.to = cluster_ip(), .timeout_ms = 200});
  ASSERT_OK(deleted);
  EXPECT_EQ(deleted->front().error, "timeout");
}

// A reader that met a half-written service, or an endpoint not yet or no longer in it, would fail or hang.
TEST_P(LifeTest, ChangesUnderLoadLoseNothing) {
  Loads loads;
  loads.add("new connections to the ClusterIP", start_load("pod1a", cluster_ip(), false));
  loads.add("standing connections to the ClusterIP", start_load("pod1a", cluster_ip(), true));
  loads.add("new connections to the NodePort", start_load("client", node_port(), false));
  loads.add("standing connections to the NodePort", start_load("client", node_port(), true));
  loads.add("datagrams to the NodePort", start_load("client", node_port(Transport::Udp), false));
  const std::vector<std::vector<std::string>> states{
      {"pod1b", "pod2a"}, {"pod2b"}, {"pod1b", "pod2a", "pod2b"}, {"pod1b"}};
  for (unsigned i = 0; i < 40; ++i) ASSERT_OK(driver_->apply(objects(states[i % states.size()], i % 3)));
  loads.expect_nothing_lost();
}

TEST_P(LifeTest, AKillUnderLoadLosesNothing) {
  Loads loads;
  loads.add("new connections to the ClusterIP", start_load("pod1a", cluster_ip(), false));
  loads.add("standing connections to the ClusterIP", start_load("pod1a", cluster_ip(), true));
  loads.add("new connections to the NodePort", start_load("client", node_port(), false));
  loads.add("standing connections to the NodePort", start_load("client", node_port(), true));
  loads.add("datagrams to the ClusterIP", start_load("pod1a", cluster_ip(Transport::Udp), false));
  for (int i = 0; i < 3; ++i) {
    agent().kill();
    ASSERT_OK(agent().start());
  }
  loads.expect_nothing_lost();
}

TEST_P(LifeTest, AKillAtAnyPointOfAnApplyIsRepaired) {
  constexpr unsigned kOthers = 300;  // so that an apply takes some milliseconds
  for (int delay_ms = 0; delay_ms < 16; ++delay_ms) {
    SCOPED_TRACE(cat("killed ", delay_ms, " ms after the change"));
    const bool odd = delay_ms % 2 != 0;
    const std::vector<std::string> endpoints =
        odd ? std::vector<std::string>{"pod1b", "pod2a"} : std::vector<std::string>{"pod2b"};
    ASSERT_OK(driver_->write(objects(endpoints, odd ? 0 : kOthers)));
    ::poll(nullptr, 0, delay_ms);  // not waiting for anything: the point of death is what varies
    agent().kill();
    ASSERT_OK(agent().start());
    expect_answers_from(endpoints, "pod1a", cluster_ip());
    expect_answers_from(endpoints, "client", node_port(Transport::Udp, Family::V6));
    const Target other{ServiceAddresses{.number = 100 + kOthers - 1}.cluster_ip(Family::V4), 80, Transport::Tcp};
    if (!odd) expect_answers_from(endpoints, "pod1a", other);
  }
}

TEST_P(LifeTest, ASecondAgentIsRefused) {
  AgentProcess second(*bed_, 1, GetParam(), {"--manifests", bed_->dir() + "/manifests"});
  ASSERT_OK(second.launch());
  const auto exit_code = second.process()->wait(std::chrono::seconds(10));
  ASSERT_OK(exit_code);
  EXPECT_EQ(*exit_code, 1);
  const std::string said = second.log();
  EXPECT_NE(said.find(cat("error: another agent is running: pid ", agent().process()->pid())), std::string::npos)
      << said;
  EXPECT_TRUE(agent().running());
  EXPECT_OK(agent().wait_until_settled());
}

TEST_P(LifeTest, CleanupIsRefusedWhileTheAgentRuns) {
  const auto refused = agent().command("cleanup");
  ASSERT_OK(refused);
  EXPECT_EQ(refused->exit_code, 1);
  EXPECT_NE(refused->err.find("stop the agent first"), std::string::npos) << refused->err;
  expect_answers_from({"pod1b", "pod2a"});
}

// Whatever the kernel or the file system could tell of a dataplane on node1.
std::vector<std::string> traces(Testbed& bed, const std::string& dataplane) {
  const auto tool = [&](const std::vector<std::string>& argv) {
    const auto output = bed.run("node1", argv);
    return output ? cat(argv[0], ": ", output->out, output->err) : output.error().message();
  };
  // iptables leaves its tables and their chains empty; KUBE-FIREWALL is kubelet's too, and stays (kubernetes v1.36
  // pkg/proxy/iptables/proxier.go, CleanupLeftovers).
  const std::string rules =
      dataplane == "iptables"
          ? tool({"sh", "-c", "(iptables-save; ip6tables-save) | grep KUBE- | grep -v KUBE-FIREWALL || true"})
          : tool({"nft", "list", "ruleset"});
  std::vector<std::string> found{rules, tool({"bpftool", "cgroup", "tree", bed.node_cgroup(1)}),
                                 tool({"bpftool", "net", "show"}), tool({"tc", "qdisc", "show"})};
  for (const std::string& directory : {bed.bpf_root(1), bed.node_dir(1)}) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(directory, error))
      found.push_back(entry.path().filename());
  }
  std::sort(found.begin(), found.end());
  return found;
}

TEST_P(LifeTest, CleanupRemovesEveryTrace) {
  const auto untouched = Testbed::create({.nodes = 2, .pods_per_node = 2});
  ASSERT_OK(untouched);
  ASSERT_OK(agent().terminate());
  EXPECT_NE(traces(*bed_, GetParam()), traces(**untouched, GetParam()));
  for (const std::string time : {"first", "second"}) {
    SCOPED_TRACE(time);
    const auto cleaned = agent().command("cleanup");
    ASSERT_OK(cleaned);
    EXPECT_EQ(cleaned->exit_code, 0) << cleaned->out << cleaned->err;
    (void)eventually([&] { return traces(*bed_, GetParam()) == traces(**untouched, GetParam()); });  // see is_there()
    EXPECT_EQ(traces(*bed_, GetParam()), traces(**untouched, GetParam()));
  }
}

bool is_there(Testbed& bed, const std::string& dataplane) {
  if (dataplane == "ebpf") {
    // The kernel detaches a program some time after the last pin of its link is gone.
    const auto interfaces = bed.run("node1", {"bpftool", "-j", "net", "show"});
    const auto sockets = bed.run("node1", {"bpftool", "-j", "cgroup", "tree", bed.node_cgroup(1)});
    return std::filesystem::exists(bed.bpf_root(1) + "/fairlead") || !interfaces || !sockets ||
           interfaces->out.find("devname") != std::string::npos || base::trim(sockets->out) != "[]";
  }
  if (dataplane == "nftables") {
    const auto tables = bed.run("node1", {"nft", "list", "tables"});
    return !tables || tables->out.find(" fairlead") != std::string::npos;
  }
  const auto rules = bed.run("node1", {"iptables-save"});
  return !rules || rules->out.find("KUBE-SERVICES") != std::string::npos;
}

// Where eBPF hands over, connections to a ClusterIP live on, because their sockets lead straight to the endpoint. Where
// packets were rewritten, a connection that spans the handover may break, once, and is counted; the next one works.
TEST_P(LifeTest, AnotherDataplaneTakesOverUnderLoad) {
  const bool from_ebpf = GetParam() == "ebpf";
  const std::string other = from_ebpf ? "nftables" : "ebpf";
  Loads to_cluster_ip;
  to_cluster_ip.add("new connections to the ClusterIP", start_load("pod1a", cluster_ip(), false));
  to_cluster_ip.add("standing connections to the ClusterIP", start_load("pod1a", cluster_ip(), true));
  Loads to_node_port;
  to_node_port.add("new connections to the NodePort", start_load("client", node_port(), false));
  to_node_port.add("standing connections to the NodePort", start_load("client", node_port(), true));
  ASSERT_OK(agent().terminate());
  agent().set_dataplane(other);
  ASSERT_OK(agent().start());
  const auto status = agent().status();
  ASSERT_OK(status);
  EXPECT_EQ(status->dataplane, other);
  ASSERT_TRUE(eventually([&] { return !is_there(*bed_, GetParam()); })) << GetParam() << " is still there";
  EXPECT_TRUE(is_there(*bed_, other));
  expect_answers_from({"pod1b", "pod2a"});
  to_cluster_ip.expect_at_most_lost(from_ebpf ? 0 : kWorkers);
  to_node_port.expect_at_most_lost(kWorkers);
}

std::vector<std::string> dataplanes() {
  std::vector<std::string> names;
  for (const auto& module : proxy::dataplane::modules()) names.push_back(module.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Life, LifeTest, testing::ValuesIn(dataplanes()),
                         [](const testing::TestParamInfo<std::string>& dataplane) { return dataplane.param; });

}  // namespace
}  // namespace fairlead::testbed
