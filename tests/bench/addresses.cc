#include "tests/bench/addresses.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <utility>

#include "base/strings.h"
#include "base/subprocess.h"
#include "ipam/store.h"

namespace fairlead::tests::bench {
namespace {

using base::cat;
using Step = std::function<Status()>;

class Folder {
 public:
  explicit Folder(const std::string& parent) : path_(parent + "/fairlead-bench-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) std::abort();
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Result<double> microseconds(const Step& step) {
  const auto begin = std::chrono::steady_clock::now();
  TRY(step());
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

double quantile_of(std::vector<double> samples, double q) {
  std::sort(samples.begin(), samples.end());
  return samples.empty() ? 0 : samples[static_cast<std::size_t>(q * static_cast<double>(samples.size() - 1))];
}

Result<AddressRow> measure(std::string way, unsigned held, unsigned calls, const Step& add, const Step& del,
                           const Step& status) {
  TRY(add());  // the first makes the index
  TRY(del());
  std::vector<double> adds, dels, states;
  double sum = 0;
  for (unsigned i = 0; i < calls; ++i) {
    if (status) states.push_back(TRY(microseconds(status)));
    adds.push_back(TRY(microseconds(add)));
    dels.push_back(TRY(microseconds(del)));
    sum += adds.back() + dels.back();
  }
  return AddressRow{std::move(way),           held,
                    quantile_of(adds, 0.5),   quantile_of(dels, 0.5),
                    quantile_of(states, 0.5), quantile_of(adds, 0.99),
                    calls / (sum / 1e6)};
}

void hold(const std::string& directory, const ipam::Range& range, unsigned count) {
  std::filesystem::create_directories(directory);
  ipam::Number at = ipam::to_number(range.start);
  for (unsigned i = 0; i < count; ++i) {
    std::ofstream(cat(directory, "/", ipam::to_ip(++at).to_string()), std::ios::binary) << "held" << i << "\r\neth0";
  }
}

Step executed(const std::string& plugin, const std::string& verb, const ipam::Place& place, const std::string& subnet) {
  const std::string config =
      cat(R"({"cniVersion":")", verb == "STATUS" ? "1.1.0" : "1.0.0", R"(","name":")", place.network,
          R"(","ipam":{"type":"host-local","dataDir":")", place.data_dir, R"(","subnet":")", subnet, "\"}}");
  const base::ProcessOptions options{.environment = {"CNI_COMMAND=" + verb, "CNI_CONTAINERID=bench", "CNI_NETNS=/none",
                                                     "CNI_IFNAME=eth0", "CNI_PATH=/none"}};
  return [=]() -> Status {
    const auto output = TRY(base::run_process({plugin}, config, options));
    return output.exit_code == 0 ? Status() : Status(Error(cat(plugin, " ", verb, ": ", output.out)));
  };
}

}  // namespace

Result<std::vector<AddressRow>> bench_addresses(const AddressPlan& plan) {
  const auto sets =
      TRY(ipam::complete(std::vector<std::vector<ipam::RangeSpec>>{{{"subnet", plan.subnet, {}, {}, {}}}}));
  std::vector<AddressRow> rows;
  for (const unsigned held : plan.held) {
    const Folder state(plan.state_parent), run(plan.run_parent);
    const ipam::Place place{state.path(), "bench", run.path(), ipam::Boot{"bench", {}}};
    hold(place.directory(), sets.front().front(), held);
    const ipam::Holder holder{"bench", "eth0"};
    const Step add = [&]() -> Status {
      ipam::Store store = TRY(ipam::Store::open(place));
      TRY(store.allocate(holder, sets));
      return {};
    };
    const Step del = [&]() -> Status { return TRY(ipam::Store::open(place)).release(holder); };
    const Step status = [&]() -> Status { return ipam::available(place, sets); };
    rows.push_back(TRY(measure("in process", held, plan.in_process, add, del, status)));
    const auto run_plugin = [&](const char* way, const std::string& plugin, unsigned calls, bool tells_status) {
      return measure(way, held, calls, executed(plugin, "ADD", place, plan.subnet),
                     executed(plugin, "DEL", place, plan.subnet),
                     tells_status ? executed(plugin, "STATUS", place, plan.subnet) : Step());
    };
    if (!plan.plugin.empty()) rows.push_back(TRY(run_plugin("fairlead", plan.plugin, plan.executed, true)));
    if (::access(plan.reference.c_str(), X_OK) == 0)
      rows.push_back(TRY(run_plugin("reference", plan.reference, plan.of_reference, false)));
  }
  return rows;
}

void print_table(const std::vector<AddressRow>& rows) {
  std::printf("%-12s %8s %10s %10s %10s %10s %12s\n", "host-local", "held", "ADD us", "p99 us", "DEL us", "STATUS us",
              "ADD+DEL 1/s");
  for (const AddressRow& row : rows) {
    std::printf("%-12s %8u %10.0f %10.0f %10.0f %10.0f %12.0f\n", row.way.c_str(), row.held, row.add_us, row.add_p99_us,
                row.del_us, row.status_us, row.pairs_per_second);
  }
}

}  // namespace fairlead::tests::bench
