// fairlead-bench: measures, and prints each figure beside its target; no figure makes it fail. docs/performance.md says
// how to read it.
#include <getopt.h>

#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "base/strings.h"
#include "proxy/dataplane/select.h"
#include "tests/bench/cni.h"
#include "tests/bench/connect.h"
#include "tests/bench/exchange.h"
#include "tests/bench/memory.h"
#include "tests/bench/rows.h"
#include "tests/bench/sync.h"
#include "tests/bench/targets.h"

namespace fairlead::tests::bench {
namespace {

constexpr char kUsage[] =
    "usage: fairlead-bench sync|connect [--dataplane NAME,NAME] [--mix] [--services N,N] [--endpoints N]\n"
    "                      [--repeats N] [--changes N] [--rounds N] [--json FILE]\n"
    "       fairlead-bench cni [--rounds N] [--pods N] [--json FILE]\n"
    "  --mix   a cluster of every kind of service, dual-stack, beside the plain one\n";

struct Request {
  std::vector<std::string> dataplanes;
  std::vector<std::uint32_t> services;
  std::optional<std::uint32_t> endpoints;
  std::optional<unsigned> repeats;
  std::optional<unsigned> changes;
  std::optional<unsigned> rounds;
  std::optional<unsigned> pods;
  std::vector<ClusterKind> clusters = {ClusterKind::Plain};
  std::string json;
};

std::vector<std::string> all_dataplanes() {
  std::vector<std::string> names;
  for (const auto& module : proxy::dataplane::modules()) names.push_back(module.name);
  return names;
}

Result<std::uint32_t> positive(const char* flag, std::string_view text) {
  const auto number = base::parse_number<std::uint32_t>(text);
  if (!number || *number == 0) return Error(base::cat(flag, ": \"", text, "\" is not a number above 0"));
  return *number;
}

Result<Request> parse(int argc, char** argv) {
  const option options[] = {{"dataplane", required_argument, nullptr, 'd'},
                            {"services", required_argument, nullptr, 's'},
                            {"endpoints", required_argument, nullptr, 'e'},
                            {"repeats", required_argument, nullptr, 'r'},
                            {"changes", required_argument, nullptr, 'c'},
                            {"rounds", required_argument, nullptr, 'n'},
                            {"pods", required_argument, nullptr, 'p'},
                            {"json", required_argument, nullptr, 'j'},
                            {"mix", no_argument, nullptr, 'm'},
                            {nullptr, 0, nullptr, 0}};
  Request request;
  for (int letter = 0; (letter = ::getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    switch (letter) {
      case 'd':
        for (const auto part : base::split(optarg, ',')) request.dataplanes.emplace_back(part);
        break;
      case 's':
        for (const auto part : base::split(optarg, ',')) request.services.push_back(TRY(positive("--services", part)));
        break;
      case 'e': request.endpoints = TRY(positive("--endpoints", optarg)); break;
      case 'r': request.repeats = TRY(positive("--repeats", optarg)); break;
      case 'c': request.changes = TRY(positive("--changes", optarg)); break;
      case 'n': request.rounds = TRY(positive("--rounds", optarg)); break;
      case 'p': request.pods = TRY(positive("--pods", optarg)); break;
      case 'j': request.json = optarg; break;
      case 'm': request.clusters = {ClusterKind::Plain, ClusterKind::Mixed}; break;
      default: return Error("unknown flag");
    }
  }
  if (request.dataplanes.empty()) request.dataplanes = all_dataplanes();
  return request;
}

Result<std::vector<Row>> run(const std::string& bench, const Request& request) {
  if (bench == "sync") {
    SyncPlan plan;
    plan.dataplanes = request.dataplanes;
    plan.clusters = request.clusters;
    if (!request.services.empty()) plan.services = request.services;
    plan.endpoints_per_service = request.endpoints.value_or(plan.endpoints_per_service);
    plan.repeats = request.repeats.value_or(plan.repeats);
    plan.changes = request.changes.value_or(plan.changes);
    return bench_sync(plan);
  }
  if (bench == "cni") {
    CniPlan plan;
    plan.rounds = request.rounds.value_or(plan.rounds);
    plan.storm_pods = request.pods.value_or(plan.storm_pods);
    return bench_cni(plan);
  }
  ConnectPlan plan;
  plan.dataplanes = request.dataplanes;
  plan.clusters = request.clusters;
  if (!request.services.empty()) plan.services = request.services;
  plan.rounds = request.rounds.value_or(plan.rounds);
  return bench_connect(plan);
}

int bench_main(int argc, char** argv) {
  const std::string bench = argc > 1 ? argv[1] : "";
  if (bench != "sync" && bench != "connect" && bench != "cni") {
    std::fputs(kUsage, stderr);
    return 2;
  }
  const auto request = parse(argc - 1, argv + 1);
  if (!request) {
    std::fprintf(stderr, "error: %s\n%s", request.error().message().c_str(), kUsage);
    return 2;
  }
  auto rows = run(bench, *request);
  if (!rows) {
    std::fprintf(stderr, "error: %s\n", rows.error().message().c_str());
    return 1;
  }
  std::printf("%s\n", machine().c_str());
  print_table(*rows);
  const std::vector<Row> growth = growth_rows(*rows);
  rows->insert(rows->end(), growth.begin(), growth.end());
  print_judgements(judge(*rows));
  if (!request->json.empty()) {
    if (const auto written = write_json(request->json, *rows); !written) {
      std::fprintf(stderr, "error: %s\n", written.error().message().c_str());
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace fairlead::tests::bench

int main(int argc, char** argv) {
  using namespace fairlead::tests::bench;
  const char* verb = argc > 1 ? argv[1] : "";
  if (std::strcmp(verb, "child-memory") == 0) return memory_child_main(argc, argv);
  if (std::strcmp(verb, "child-serve") == 0) return serve_child_main(argc, argv);
  if (std::strcmp(verb, "child-exchange") == 0) return exchange_child_main(argc, argv);
  if (std::strcmp(verb, "child-until") == 0) return until_child_main(argc, argv);
  return bench_main(argc, argv);
}
