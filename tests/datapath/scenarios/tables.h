// The parts of the scenario table, by theme.
#pragma once

#include <vector>

#include "tests/datapath/scenarios.h"

namespace fairlead::testbed::table {

std::vector<Scenario> cluster_ips();
std::vector<Scenario> ports();
std::vector<Scenario> external_addresses();
std::vector<Scenario> outside_the_cgroup();
std::vector<Scenario> without_endpoints();
std::vector<Scenario> changes();
std::vector<Scenario> unserved();
std::vector<Scenario> traffic_policies();
std::vector<Scenario> masquerade_matrix();
std::vector<Scenario> detectors();
std::vector<Scenario> terminating();
std::vector<Scenario> topology();
std::vector<Scenario> source_ranges();
std::vector<Scenario> node_ports();
std::vector<Scenario> affinity();
std::vector<Scenario> trackers();
std::vector<Scenario> robustness();
std::vector<Scenario> conntrack();
std::vector<Scenario> health();

}  // namespace fairlead::testbed::table
