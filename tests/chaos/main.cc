// fairlead-soak: ./dev soak. Exit status: 0 every promise was kept, 1 one was broken or something failed, 2 usage.
#include <getopt.h>
#include <signal.h>

#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "proxy/dataplane/select.h"
#include "tests/chaos/soak.h"

namespace fairlead::tests::chaos {
namespace {

using base::Value;

constexpr char kUsage[] =
    "usage: ./dev soak [--minutes N | --seconds N] [--dataplane NAME,NAME] [--seed N] [--json FILE]\n"
    "Two nodes, agents that follow an API server, random changes and faults, and load that must not notice.\n"
    "Default: 10 minutes of each dataplane, one after the other, and a seed of chance, which is printed.\n";

struct Request {
  std::chrono::milliseconds length = std::chrono::minutes(10);
  std::vector<std::string> dataplanes;
  std::uint64_t seed = std::random_device{}();
  std::string json;
};

std::vector<std::string> all_dataplanes() {
  std::vector<std::string> names;
  for (const auto& module : proxy::dataplane::modules()) names.push_back(module.name);
  return names;
}

Result<unsigned> positive(const char* flag, const char* text) {
  const auto number = base::parse_number<unsigned>(text);
  if (!number || *number == 0 || *number > 100'000)
    return Error(base::cat(flag, ": \"", text, "\" is not a number from 1 to 100000"));
  return *number;
}

Result<Request> parse(int argc, char** argv) {
  const option options[] = {
      {"minutes", required_argument, nullptr, 'm'},   {"seconds", required_argument, nullptr, 's'},
      {"dataplane", required_argument, nullptr, 'd'}, {"seed", required_argument, nullptr, 'r'},
      {"json", required_argument, nullptr, 'j'},      {nullptr, 0, nullptr, 0}};
  Request request;
  for (int letter = 0; (letter = ::getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    switch (letter) {
      case 'm': request.length = std::chrono::minutes(TRY(positive("--minutes", optarg))); break;
      case 's': request.length = std::chrono::seconds(TRY(positive("--seconds", optarg))); break;
      case 'd':
        for (const auto part : base::split(optarg, ',')) request.dataplanes.emplace_back(part);
        break;
      case 'r': {
        const auto seed = base::parse_number<std::uint64_t>(optarg);
        if (!seed) return Error(base::cat("--seed: \"", optarg, "\" is not a number"));
        request.seed = *seed;
        break;
      }
      case 'j': request.json = optarg; break;
      default: return Error("unknown flag");
    }
  }
  if (optind < argc) return Error(base::cat("\"", argv[optind], "\" is no option"));
  if (request.dataplanes.empty()) request.dataplanes = all_dataplanes();
  return request;
}

void print(const std::string& dataplane, const SoakOptions& options, const SoakResult& result) {
  for (const std::string& line : result.ok() ? std::vector<std::string>() : result.evidence)
    std::printf("  %s\n", line.c_str());
  std::printf("\n%-60s %10s %10s %-9s\n", dataplane.c_str(), "value", "limit", "unit");
  for (const Check& check : result.checks) {
    std::printf("%-60s %10.2f %10.2f %-9s %s\n", check.name.c_str(), check.value, check.limit, check.unit.c_str(),
                check.ok() ? "ok" : "FAILED");
  }
  std::string counts;
  for (const auto& [what, count] : result.counts) counts += base::cat(counts.empty() ? "" : ", ", count, " ", what);
  std::printf("%s\n%s: %s (seed %llu)\n\n", counts.c_str(), dataplane.c_str(), result.ok() ? "ok" : "FAILED",
              static_cast<unsigned long long>(options.seed));
  std::fflush(stdout);
}

void append_rows(Value::Array& rows, const SoakOptions& options, const SoakResult& result) {
  const auto add = [&](const std::string& metric, double value, const std::string& unit, Value limit, bool ok) {
    Value row;
    row.set("bench", Value("soak")).set("dataplane", Value(options.dataplane)).set("seed", Value(options.seed));
    row.set("seconds", Value(std::int64_t{options.length.count() / 1000})).set("metric", Value(metric));
    row.set("value", Value(value)).set("unit", Value(unit)).set("limit", std::move(limit)).set("ok", Value(ok));
    rows.push_back(std::move(row));
  };
  for (const Check& check : result.checks) add(check.name, check.value, check.unit, Value(check.limit), check.ok());
  for (const auto& [what, count] : result.counts) add(what, static_cast<double>(count), "count", Value(), true);
}

int soak_main(int argc, char** argv) {
  const auto request = parse(argc, argv);
  if (!request) {
    std::fprintf(stderr, "error: %s\n%s", request.error().message().c_str(), kUsage);
    return 2;
  }
  bool good = true;
  Value::Array rows;
  for (const std::string& dataplane : request->dataplanes) {
    const SoakOptions options{.dataplane = dataplane, .length = request->length, .seed = request->seed};
    std::printf("%s for %lld s, seed %llu\n", dataplane.c_str(), static_cast<long long>(request->length.count() / 1000),
                static_cast<unsigned long long>(request->seed));
    std::fflush(stdout);
    const auto result = soak(options, [](const std::string& line) {
      std::printf("%s\n", line.c_str());
      std::fflush(stdout);
    });
    if (!result) {
      std::fprintf(stderr, "error: %s: %s\nhint: ./dev soak --dataplane %s --seed %llu repeats it\n", dataplane.c_str(),
                   result.error().message().c_str(), dataplane.c_str(), static_cast<unsigned long long>(request->seed));
      good = false;
      continue;
    }
    print(dataplane, options, *result);
    append_rows(rows, options, *result);
    good = good && result->ok();
  }
  if (!request->json.empty()) {
    const auto written = base::write_file_atomically(
        request->json, base::to_json(Value(std::move(rows)), base::JsonStyle::Indented) + "\n");
    if (!written) {
      std::fprintf(stderr, "error: %s\n", written.error().message().c_str());
      return 1;
    }
  }
  return good ? 0 : 1;
}

}  // namespace
}  // namespace fairlead::tests::chaos

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  return fairlead::tests::chaos::soak_main(argc, argv);
}
