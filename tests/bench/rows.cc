#include "tests/bench/rows.h"

#include <sys/utsname.h>

#include <cmath>
#include <cstdio>
#include <map>
#include <thread>
#include <tuple>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"

namespace fairlead::tests::bench {
namespace {

std::string number(double value) {
  char buffer[32];
  const int decimals = value == 0 || std::fabs(value) >= 1000 ? 0 : std::fabs(value) >= 10 ? 1 : 3;
  std::snprintf(buffer, sizeof buffer, "%.*f", decimals, value);
  return buffer;
}

using LineKey = std::tuple<std::string, std::string, std::uint64_t>;  // dataplane, cluster, services

}  // namespace

void print_table(const std::vector<Row>& rows) {
  std::vector<std::string> metrics;
  std::vector<LineKey> lines;
  std::map<std::pair<LineKey, std::string>, std::string> cells;
  for (const Row& row : rows) {
    const std::string column = row.metric + " (" + row.unit + ")";
    const LineKey line{row.dataplane, row.cluster, row.services};
    if (std::find(metrics.begin(), metrics.end(), column) == metrics.end()) metrics.push_back(column);
    if (std::find(lines.begin(), lines.end(), line) == lines.end()) lines.push_back(line);
    cells[{line, column}] = number(row.value);
  }
  std::printf("%-19s %-7s %9s", "dataplane", "cluster", "services");
  for (const std::string& metric : metrics) std::printf("  %s", metric.c_str());
  std::printf("\n");
  for (const LineKey& line : lines) {
    const auto& [dataplane, cluster, services] = line;
    std::printf("%-19s %-7s %9llu", dataplane.c_str(), cluster.c_str(), static_cast<unsigned long long>(services));
    for (const std::string& metric : metrics) {
      const auto cell = cells.find({line, metric});
      std::printf("  %*s", static_cast<int>(metric.size()), cell == cells.end() ? "-" : cell->second.c_str());
    }
    std::printf("\n");
  }
  std::fflush(stdout);
}

Status write_json(const std::string& path, const std::vector<Row>& rows) {
  base::Value::Array items;
  for (const Row& row : rows) {
    base::Value item;
    item.set("bench", base::Value(row.bench))
        .set("dataplane", base::Value(row.dataplane))
        .set("cluster", base::Value(row.cluster))
        .set("services", base::Value(row.services))
        .set("endpoints_per_service", base::Value(row.endpoints_per_service))
        .set("metric", base::Value(row.metric))
        .set("value", base::Value(row.value))
        .set("unit", base::Value(row.unit))
        .set("samples", base::Value(row.samples));
    items.push_back(std::move(item));
  }
  return base::write_file_atomically(path,
                                     base::to_json(base::Value(std::move(items)), base::JsonStyle::Indented) + "\n");
}

double quantile(std::vector<double>& samples, double q) {
  const auto index = static_cast<std::ptrdiff_t>(std::lround(q * static_cast<double>(samples.size() - 1)));
  std::nth_element(samples.begin(), samples.begin() + index, samples.end());
  return samples[static_cast<std::size_t>(index)];
}

std::string machine() {
  std::string model = "unknown CPU";
  if (const auto info = base::read_file("/proc/cpuinfo")) {
    for (const std::string_view line : base::split(*info, '\n')) {
      if (line.starts_with("model name")) {
        model = base::trim(line.substr(line.find(':') + 1));
        break;
      }
    }
  }
  utsname name{};
  ::uname(&name);
  return base::cat(model, ", ", std::thread::hardware_concurrency(), " cores, ", name.sysname, " ", name.release);
}

}  // namespace fairlead::tests::bench
