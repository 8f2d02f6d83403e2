#include "tests/bench/targets.h"

#include <cstdio>

namespace fairlead::tests::bench {
namespace {

constexpr const char* kGrowth = "change_growth";
constexpr std::uint64_t kSmall = 1'000;
constexpr std::uint64_t kUsual = 10'000;
constexpr std::uint64_t kLarge = 50'000;

struct Target {
  bool iptables = false;  // of the dataplane that answers for a chain walk; else of the other two
  const char* metric = "";
  std::uint64_t services = 0;
  double limit = 0;
};

constexpr Target kTargets[] = {
    {false, "first_sync_memory", kUsual, 0.5},                              // s
    {false, "first_sync_api", kUsual, 1.5},    {false, "rss", kUsual, 80},  // MB
    {false, "change_visible_p50", kUsual, 5},                               // ms
    {false, "change_cpu", kUsual, 1},          {false, kGrowth, kLarge, 2},
    {true, "first_sync_memory", kUsual, 3},    {true, "first_sync_api", kUsual, 3},
    {true, "change_visible_p50", kUsual, 150},
};

// Of ours, one container at a time.
struct CniTarget {
  const char* what = "";  // Row::cluster
  const char* metric = "";
  double limit = 0;
};

constexpr CniTarget kCniTargets[] = {
    {"bridge", "add_p50", 2.0}, {"bridge", "del_p50", 3.0}, {"full", "add_p50", 3.5},    // ms
    {"full", "del_p50", 3.0},   {"exec", "exec_ms", 1.0},   {"exec", "binary_mb", 2.5},  // MB
};

bool applies(const CniTarget& target, const Row& row) {
  return row.bench == "cni" && row.dataplane != "reference" && row.cluster == target.what &&
         row.metric == target.metric;
}

bool applies(const Target& target, const Row& row) {
  return row.bench == "sync" && row.endpoints_per_service == 10 && row.metric == target.metric &&
         row.services == target.services && (row.dataplane == "iptables") == target.iptables;
}

bool is_change(const Row& row, std::uint64_t services) {
  return row.metric == "change_visible_p50" && row.services == services;
}

}  // namespace

std::vector<Row> growth_rows(const std::vector<Row>& rows) {
  std::vector<Row> out;
  for (const Row& large : rows) {
    if (!is_change(large, kLarge)) continue;
    for (const Row& small : rows) {
      if (!is_change(small, kSmall) || small.dataplane != large.dataplane || small.cluster != large.cluster ||
          small.value <= 0)
        continue;
      Row growth = large;
      growth.metric = kGrowth;
      growth.value = large.value / small.value;
      growth.unit = "ratio";
      out.push_back(std::move(growth));
    }
  }
  return out;
}

std::vector<Judgement> judge(const std::vector<Row>& rows) {
  std::vector<Judgement> out;
  for (const Row& row : rows) {
    for (const Target& target : kTargets) {
      if (applies(target, row)) out.push_back({row, target.limit});
    }
    for (const CniTarget& target : kCniTargets) {
      if (applies(target, row)) out.push_back({row, target.limit});
    }
  }
  return out;
}

void print_judgements(const std::vector<Judgement>& judgements) {
  if (judgements.empty()) return;
  std::printf("\n%-10s %-7s %9s  %-20s %10s %10s %-6s\n", "dataplane", "cluster", "services", "metric", "value",
              "target", "unit");
  for (const Judgement& each : judgements) {
    std::printf("%-10s %-7s %9llu  %-20s %10.3f %10.3f %-6s %s\n", each.row.dataplane.c_str(), each.row.cluster.c_str(),
                static_cast<unsigned long long>(each.row.services), each.row.metric.c_str(), each.row.value, each.limit,
                each.row.unit.c_str(), each.met() ? "met" : "NOT MET");
  }
  if (judgements.front().row.bench == "sync")
    std::printf("kube-proxy is not part of this run; docs/performance.md has what was published of it.\n");
  std::fflush(stdout);
}

}  // namespace fairlead::tests::bench
