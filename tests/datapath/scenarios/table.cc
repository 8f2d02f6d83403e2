// The whole table, in an order that changes the operator's setup as rarely as possible.
#include <algorithm>

#include "base/strings.h"
#include "tests/datapath/scenarios/tables.h"

namespace fairlead::testbed {

const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all = [] {
    std::vector<Scenario> rows;
    for (const auto& part :
         {table::cluster_ips(), table::ports(), table::unserved(), table::external_addresses(),
          table::outside_the_cgroup(), table::without_endpoints(), table::changes(), table::traffic_policies(),
          table::masquerade_matrix(), table::detectors(), table::terminating(), table::topology(),
          table::source_ranges(), table::node_ports(), table::affinity(), table::trackers(), table::robustness(),
          table::conntrack(), table::health()}) {
      rows.insert(rows.end(), part.begin(), part.end());
    }
    std::stable_sort(rows.begin(), rows.end(), [](const Scenario& a, const Scenario& b) { return a.setup < b.setup; });
    return rows;
  }();
  return all;
}

const std::vector<Scenario>& bridged_scenarios() {
  static const std::vector<Scenario> some = [] {
    std::vector<Scenario> rows = table::cluster_ips();
    for (const Scenario& row : table::external_addresses()) rows.push_back(row);
    return rows;
  }();
  return some;
}

std::vector<std::string> pod_listeners(bool with_sctp) {
  std::vector<std::string> listeners;
  for (const std::uint16_t port : {kMain, kSecond}) {
    for (const std::string transport : {"tcp", "udp", "sctp"}) {
      if (transport != "sctp" || with_sctp) listeners.push_back(base::cat("[::]:", port, "/", transport));
    }
  }
  return listeners;
}

}  // namespace fairlead::testbed
