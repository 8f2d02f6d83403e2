// kill -9 at the entry of every system call of ADD and of DEL. Whatever a runtime does next, nothing is left behind and
// no address is given to two.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>

#include "base/strings.h"
#include "tests/cni/firewalld.h"
#include "tests/cni/runtime.h"
#include "tests/cni/snapshot.h"

namespace fairlead::cnitest {
namespace {

using base::cat;
using base::Value;

struct Configuration {
  std::string name;
  std::string conflist;
  std::string capabilities = "{}";
  std::size_t first_victim = 0, last_victim = 0;  // the plugins that die in turn; all others live
  bool firewalld = false;                         // runs on the host
};

constexpr char kBoth[] = R"({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
    "bandwidth": {"ingressRate": 8000000, "ingressBurst": 800000, "egressRate": 8000000, "egressBurst": 800000}})";

// Five plugins, of which one dies.
Configuration chain(const std::string& name, std::size_t victim) {
  return {name, R"({"cniVersion": "1.1.0", "name": "pods", "plugins": [
        {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
         "ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}},
        {"type": "portmap", "capabilities": {"portMappings": true}},
        {"type": "bandwidth", "capabilities": {"bandwidth": true}},
        {"type": "firewall"},
        {"type": "tuning", "mtu": 1400}]})",
          kBoth, victim, victim, false};
}

const Configuration kConfigurations[] = {
    {"Bridge", R"({"cniVersion": "1.1.0", "name": "pods", "plugins": [
        {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]],
                  "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}]})"},
    {"Ptp", R"({"cniVersion": "1.1.0", "name": "pods", "plugins": [
        {"type": "ptp", "ipMasq": true,
         "ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}]})"},
    chain("BridgeOfAChain", 0),
    chain("Portmap", 1),
    chain("Bandwidth", 2),
    chain("Firewall", 3),
    chain("Tuning", 4),
    {"Fairlead", R"({"cniVersion": "1.1.0", "name": "pods", "plugins": [
        {"type": "fairlead", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}}]})"},
    {"Firewalld", R"({"cniVersion": "1.1.0", "name": "pods", "plugins": [
        {"type": "bridge", "bridge": "cni0", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}},
        {"type": "firewall"}]})",
     "{}", 1, 1, true},
};

enum class Way { Del, Gc, AddAgain };

struct Case {
  const Configuration* configuration;
  std::string verb;  // that dies
  Way way;           // what comes after
};

std::string name_of(const Case& c) {
  const char* ways[] = {"ThenDel", "ThenGc", "ThenAddAgainAndDel"};
  return cat(c.configuration->name, "Killed", c.verb == "ADD" ? "Add" : "Del", ways[static_cast<int>(c.way)]);
}

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << name_of(c); }

const Scope kScope{.containers = {"c1", "c2"},
                   .folders = {"/run/fairlead", "/run/cni", "/var/lib/cni"},
                   .sysctls = {},
                   .container_sysctls = {}};

std::string failure_of(const Result<std::vector<Run>>& runs) {
  if (!runs) return runs.error().message();
  if (runs->empty() || runs->back().outcome.exit_code == 0) return "";
  return cat(runs->back().plugin, ": ", runs->back().outcome.out, runs->back().outcome.err);
}

std::set<std::string> addresses(const Value& result) {
  std::set<std::string> out;
  if (const Value::Array* ips = result["ips"].as_array()) {
    for (const Value& ip : *ips) out.insert(*ip["address"].as_string());
  }
  return out;
}

class KillTest : public testing::TestWithParam<Case> {
 protected:
  static CniHost made() {
    auto host = CniHost::create();
    EXPECT_TRUE(host) << host.error().message();
    return *std::move(host);
  }

  void SetUp() override {
    auto network = parse_network(GetParam().configuration->conflist);
    ASSERT_TRUE(network) << network.error().message();
    network_ = *network;
    for (const Value& plugin : network_.plugins) {
      const std::string path = cat(folder(Implementation::Ours), "/", *plugin["type"].as_string());
      if (!host_.shell(cat("test -x ", path))) GTEST_SKIP() << path << " is not built";
    }
    if (GetParam().configuration->firewalld) {
      if (const std::string missing = Firewalld::missing(); !missing.empty())
        GTEST_SKIP() << missing << " is not installed (CI=true ./dev test does that)";
      const Status started = start_firewalld();
      ASSERT_TRUE(started) << started.error().message();
    }
    first_.capabilities = *base::parse_json(GetParam().configuration->capabilities);
    second_.container = "c2";
    ASSERT_TRUE(host_.add_container("c1"));
    ASSERT_TRUE(host_.add_container("c2"));
    // What a network keeps between pods (its bridge, standing chains, the last address given) is there from now on.
    ASSERT_EQ(failure_of(runtime_.add(network_, first_)), "");
    ASSERT_EQ(failure_of(runtime_.del(network_, first_)), "");
    before_ = seen();
  }

  Status start_firewalld() {
    firewalld_.emplace(TRY(Firewalld::create(host_.nsenter())));
    TRY(firewalld_->start());
    TRY(host_.shell(cat("mkdir /run/dbus; ln -s ", firewalld_->socket(), " /run/dbus/system_bus_socket")));
    return {};
  }

  // Where host-local goes on and the index of its files are no reservations: the files are.
  Lines seen() {
    auto lines = snapshot(host_, kScope, masks_);
    EXPECT_TRUE(lines) << lines.error().message();
    auto nft = nft_sizes(host_);
    EXPECT_TRUE(nft) << nft.error().message();
    lines->insert(lines->end(), nft->begin(), nft->end());
    std::erase_if(*lines, [](const std::string& line) {
      return line.find("/last_reserved_ip.") != line.npos || line.find(".index: ") != line.npos;
    });
    std::sort(lines->begin(), lines->end());
    return *lines;
  }

  // Plugin `index` dies at its system call `at`; those the runtime calls before it are done. False when it was done
  // before that call.
  bool die(std::size_t index, unsigned at) {
    const bool adds = GetParam().verb == "ADD";
    Value previous;
    if (adds) {
      for (std::size_t i = 0; i < index; ++i) previous = *base::parse_json(run("ADD", i, previous));
      handed_ = previous;
    } else {
      const auto runs = runtime_.add(network_, first_);
      EXPECT_EQ(failure_of(runs), "");
      handed_ = index == 0 ? Value() : *base::parse_json((*runs)[index - 1].outcome.out);
      previous = runtime_.result(first_);
      for (std::size_t i = network_.plugins.size(); i-- > index + 1;) run("DEL", i, previous);
    }
    const auto killed =
        host_.run_until_syscall(runtime_.command(GetParam().verb, network_, index, first_, previous), at);
    EXPECT_TRUE(killed) << killed.error().message();
    return killed && killed->has_value();
  }

  std::string run(const std::string& verb, std::size_t index, const Value& previous) {
    const auto outcome = host_.run(runtime_.command(verb, network_, index, first_, previous));
    EXPECT_TRUE(outcome && outcome->exit_code == 0)
        << verb << " " << (outcome ? outcome->out : outcome.error().message());
    return outcome ? outcome->out : "";
  }

  void recover(std::size_t plugin) {
    switch (GetParam().way) {
      case Way::Del: EXPECT_EQ(failure_of(runtime_.del(network_, first_)), ""); break;
      case Way::Gc:
        EXPECT_EQ(failure_of(runtime_.gc_all(network_)), "");
        runtime_.forget(first_);
        break;
      case Way::AddAgain: add_again(plugin); break;
    }
  }

  // A second ADD may be refused where the first had come to its end, or the DEL had not begun. Behind a plugin that
  // still stands, the one that died is asked alone.
  void add_again(std::size_t plugin) {
    if (plugin == 0) return add_all_again();
    const auto outcome = host_.run(runtime_.command("ADD", network_, plugin, first_, handed_));
    ASSERT_TRUE(outcome) << outcome.error().message();
    if (outcome->exit_code == 0 && left_a_record_) ++added_again_;
    EXPECT_EQ(failure_of(runtime_.del(network_, first_)), "");
  }

  // Another pod comes in between: what the dead one may still hold is not given to it (the first plugin gives).
  void add_all_again() {
    EXPECT_EQ(failure_of(runtime_.add(network_, second_)), "");
    if (failure_of(runtime_.add(network_, first_)).empty()) {
      if (left_a_record_) ++added_again_;
      for (const std::string& address : addresses(runtime_.result(first_)))
        EXPECT_FALSE(addresses(runtime_.result(second_)).contains(address)) << address << " is given twice";
    }
    EXPECT_EQ(failure_of(runtime_.del(network_, first_)), "");
    EXPECT_EQ(failure_of(runtime_.del(network_, second_)), "");
  }

  CniHost host_ = made();
  std::optional<Firewalld> firewalld_;
  Runtime runtime_{host_, Implementation::Ours};
  Network network_;
  Attachment first_, second_;
  Masks masks_;
  Lines before_;
  Value handed_;                // prevResult of the plugin that dies
  bool left_a_record_ = false;  // it died with something to be undone
  unsigned added_again_ = 0;
};

TEST_P(KillTest, LeavesNothingBehind) {
  const Configuration& configuration = *GetParam().configuration;
  for (std::size_t plugin = configuration.first_victim; plugin <= configuration.last_victim; ++plugin) {
    const std::string& type = *network_.plugins[plugin]["type"].as_string();
    unsigned at = 1, dirty = 0;
    added_again_ = 0;
    for (bool killed = true; killed; ++at) {
      SCOPED_TRACE(cat(type, " at system call ", at));
      killed = die(plugin, at);
      const Lines left = killed ? seen() : before_;
      if (left != before_) ++dirty;
      left_a_record_ = std::any_of(left.begin(), left.end(), [&](const std::string& line) {
        return line.find(cat("/c1@eth0.", type, ".")) != line.npos;
      });
      recover(plugin);
      const Lines after = seen();
      ASSERT_EQ(to_string(difference(before_, after)), "");
      if (HasFailure()) return;
    }
    EXPECT_GT(at, 20U) << type << " was hardly run";
    EXPECT_GT(dirty, 0U) << "there was hardly anything to clean up";
    if (GetParam().way == Way::AddAgain) {
      EXPECT_GT(added_again_, 0U) << "every ADD of " << type << " is refused that has something to undo";
    }
    RecordProperty(type + "_system_calls", static_cast<int>(at));
    RecordProperty(type + "_added_again", static_cast<int>(added_again_));
  }
}

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const Configuration& configuration : kConfigurations) {
    for (const char* verb : {"ADD", "DEL"}) {
      for (const Way way : {Way::Del, Way::Gc, Way::AddAgain}) out.push_back({&configuration, verb, way});
    }
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(EverySystemCall, KillTest, testing::ValuesIn(cases()),
                         [](const auto& c) { return name_of(c.param); });

}  // namespace
}  // namespace fairlead::cnitest
