// Runs scenarios() on every dataplane and family: Scenarios/ebpf.ClusterIpReachesEveryEndpoint/v4 and so on, some of
// them again with the pods on a bridge (BridgedPods/ebpf...); one test program's run of them is also the conformance
// table (./dev conformance).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>

#include "base/json.h"
#include "base/strings.h"
#include "proxy/dataplane/select.h"
#include "tests/datapath/assert_ok.h"
#include "tests/datapath/contract.h"
#include "tests/datapath/scenario_player.h"

namespace fairlead::testbed {
namespace {

using base::cat;
using base::Value;
using net::Family;

// Removes the cluster when all tests have run, before the process ends.
class ClusterEnvironment final : public testing::Environment {
 public:
  explicit ClusterEnvironment(std::shared_ptr<ScenarioCluster> cluster) : cluster_(std::move(cluster)) {}
  void TearDown() override { EXPECT_OK(cluster_->remove()); }

 private:
  std::shared_ptr<ScenarioCluster> cluster_;
};

// A line of JSON per row, appended to the file that $FAIRLEAD_CONFORMANCE_ROWS names.
void record(const Value& row) {
  const char* path = std::getenv("FAIRLEAD_CONFORMANCE_ROWS");
  if (path != nullptr) std::ofstream(path, std::ios::app) << base::to_json(row) + "\n" << std::flush;
}

class ScenarioTest : public testing::Test {
 public:
  ScenarioTest(std::shared_ptr<ScenarioCluster> cluster, const Scenario& scenario, std::string dataplane, Family family,
               bool recorded)
      : cluster_(std::move(cluster)),
        scenario_(scenario),
        dataplane_(std::move(dataplane)),
        family_(family),
        recorded_(recorded),
        difference_(scenario.difference(dataplane_, family)) {}

 protected:
  void TestBody() override {
    if (const std::string missing = what_is_missing(); !missing.empty()) {
      note("skipped", missing);
      GTEST_SKIP() << missing;
    }
    play();
    if (HasFailure()) return note("fail", "see the log of the test");
    const std::string why = why_it_differs();
    note(why.empty() ? "pass" : "differs", why);
  }

 private:
  void play() {
    ASSERT_OK(cluster_->use(dataplane_, scenario_.setup));
    const bool own_phases = difference_ != nullptr && !difference_->phases.empty();
    ScenarioPlayer(*cluster_, dataplane_, family_).play(own_phases ? difference_->phases : scenario_.phases);
  }

  std::string why_it_differs() const {
    if (difference_ != nullptr) return difference_->why;
    const auto at_a_socket = [](const Check& check) {
      return check.seen == Seen::Masqueraded && check.membership == Membership::Inside;
    };
    const auto any_of_phase = [&](const Phase& phase) {
      return std::any_of(phase.expect.begin(), phase.expect.end(), at_a_socket);
    };
    if (dataplane_ != "ebpf" || std::none_of(scenario_.phases.begin(), scenario_.phases.end(), any_of_phase)) return "";
    return "a pod's connection is translated at its socket and keeps its address: no packet is there to masquerade "
           "(docs/adr/0004)";
  }

  // Why the scenario cannot be played here; empty: it can.
  std::string what_is_missing() const {
    if (scenario_.needs == Needs::Agents && ScenarioCluster::in_process()) {
      return "the agents do this, and the dataplanes are driven without them";
    }
    if (scenario_.needs == Needs::Sctp && !ScenarioCluster::kernel_has_sctp()) {
      return "this kernel has no SCTP sockets (CONFIG_IP_SCTP)";
    }
    return "";
  }

  void note(const std::string& result, const std::string& why) const {
    if (!recorded_) return;
    for (const std::string_view item : base::split(scenario_.items, ' ')) {
      Value row;
      row.set("scenario", Value(scenario_.name))
          .set("contract_item", Value(item))
          .set("dataplane", Value(dataplane_))
          .set("family", Value(net::to_string(family_)))
          .set("result", Value(result))
          .set("why", Value(why));
      record(row);
    }
  }

  const std::shared_ptr<ScenarioCluster> cluster_;
  const Scenario& scenario_;
  const std::string dataplane_;
  const Family family_;
  const bool recorded_;
  const Difference* difference_;
};

// The contract's items themselves, for the table's headings.
TEST(Contract, EveryItemIsProvenByARowOrExplained) {
  std::set<std::string, std::less<>> proven;
  for (const Scenario& scenario : scenarios()) {
    for (const std::string_view item : base::split(scenario.items, ' ')) proven.emplace(item);
  }
  for (const ContractItem& item : contract()) {
    const bool elsewhere = !item.proof.empty() || !item.why_not.empty();
    EXPECT_NE(proven.erase(item.id) > 0, elsewhere) << item.id << ": " << item.text;
    record(Value()
               .set("item", Value(item.id))
               .set("text", Value(item.text))
               .set("proof", Value(item.proof))
               .set("why", Value(item.why_not)));
  }
  for (const std::string& unknown : proven) ADD_FAILURE() << "a scenario names " << unknown << ": not in contract.cc";
}

TEST(Contract, EveryScenarioHasItsOwnName) {
  std::set<std::string> names;
  for (const Scenario& scenario : scenarios()) EXPECT_TRUE(names.insert(scenario.name).second) << scenario.name;
}

bool has_family(const Scenario& scenario, Family family) {
  return scenario.needs != (family == Family::V4 ? Needs::IPv6 : Needs::IPv4);
}

void register_scenarios(const std::string& suite, PodLink pod_link, const std::vector<Scenario>& rows) {
  const auto cluster = std::make_shared<ScenarioCluster>(pod_link);
  testing::AddGlobalTestEnvironment(new ClusterEnvironment(cluster));  // gtest owns it
  // The conformance table has a row once, on whatever pods.
  const bool recorded = pod_link == PodLink::Routed;
  for (const auto& module : proxy::dataplane::modules()) {
    for (const Scenario& scenario : rows) {
      for (const Family family : {Family::V4, Family::V6}) {
        if (!has_family(scenario, family)) continue;
        testing::RegisterTest(cat(suite, "/", module.name).c_str(),
                              cat(scenario.name, family == Family::V4 ? "/v4" : "/v6").c_str(), nullptr, nullptr,
                              __FILE__, __LINE__,
                              [cluster, &scenario, dataplane = module.name, family, recorded]() -> ScenarioTest* {
                                return new ScenarioTest(cluster, scenario, dataplane, family, recorded);
                              });
      }
    }
  }
}

bool register_all() {
  register_scenarios("Scenarios", PodLink::Routed, scenarios());
  register_scenarios("BridgedPods", PodLink::Bridged, bridged_scenarios());
  return true;
}

// gtest_main calls RUN_ALL_TESTS itself; tests register before main, as TEST() does.
const bool registered = register_all();

}  // namespace
}  // namespace fairlead::testbed
