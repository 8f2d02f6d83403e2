// ScenarioPlayer: puts the phases of a scenario in force and makes their checks. What fails is a failure of the running
// gtest test.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/datapath/scenario_cluster.h"
#include "tests/datapath/scenarios.h"

namespace fairlead::testbed {

class ScenarioPlayer {
 public:
  ScenarioPlayer(ScenarioCluster& cluster, std::string dataplane, net::Family family)
      : cluster_(cluster), dataplane_(std::move(dataplane)), family_(family) {}

  void play(const std::vector<Phase>& phases);

 private:
  Status put_in_force(const Phase& phase);
  Status give(const std::vector<ServiceSpec>& services);

  Target target_of(const To& to) const;
  net::Ip ip_of(const std::string& place) const;
  // The node that translates for this check: "the client's" way to the service.
  unsigned node_of(const Check& check) const;
  Result<std::vector<Attempt>> attempts(const Check& check, unsigned count, unsigned timeout_ms, unsigned parallel = 4);

  void run(const Check& check);
  void expect_answered(const Check& check);
  void expect_good(const Check& check, const Attempt& attempt);
  // The addresses and ports that an endpoint may be reached at.
  std::vector<std::string> doors_of(const std::string& endpoint, const To& to) const;
  std::vector<std::string> sources_of(const Check& check) const;
  void expect_evenly(const Check& check);
  void expect_refused(const Check& check);
  void expect_dropped(const Check& check);
  void expect_unanswered(const Check& check);
  void expect_one_answers(const Check& check);
  void expect_another_answers(const Check& check);
  void expect_http(const Check& check);

  void start_flow(const Check& check);
  Result<LoadReport> newest_report(const std::string& flow);
  void expect_flow_goes_on(const Check& check);
  void expect_flow_moves(const Check& check);
  void expect_flow_falls_silent(const Check& check);

  Testbed& testbed() const { return cluster_.testbed(); }

  ScenarioCluster& cluster_;
  const std::string dataplane_;
  const net::Family family_;
  std::map<std::string, std::pair<ServiceAddresses, ServiceSpec>> services_;  // by the scenario's name
  std::map<std::string, std::string> remembered_;                             // endpoints, by Check::memory
  struct Flow {
    To to;
    std::unique_ptr<Load> load;
  };
  std::map<std::string, Flow> flows_;  // by Check::memory
};

}  // namespace fairlead::testbed
