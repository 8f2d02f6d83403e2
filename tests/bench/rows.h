// Row: one measured figure, and the two forms in which people get it: a table, and JSON for comparing runs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace fairlead::tests::bench {

struct Row {
  std::string bench;      // "sync", "connect"
  std::string dataplane;  // "ebpf", "nftables", "iptables"; connect: "direct/ebpf", ...
  std::string cluster;    // "plain", "mixed"
  std::uint64_t services = 0;
  std::uint64_t endpoints_per_service = 0;
  std::string metric;
  double value = 0;
  std::string unit;  // "s", "ms", "us", "MB", "1/s", "ratio", "count"
  std::uint64_t samples = 0;
};

// One line per (dataplane, cluster, services), one column per metric.
void print_table(const std::vector<Row>& rows);
Status write_json(const std::string& path, const std::vector<Row>& rows);

// The sample below which a fraction `q` of all lie. REQUIRES samples not empty. Reorders them.
double quantile(std::vector<double>& samples, double q);

// CPU model, cores, kernel, for the head of every report.
std::string machine();

}  // namespace fairlead::tests::bench
