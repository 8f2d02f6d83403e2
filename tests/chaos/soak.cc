#include "tests/chaos/soak.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "base/strings.h"
#include "tests/chaos/kernel_state.h"
#include "tests/chaos/run.h"
#include "tests/chaos/stage.h"

namespace fairlead::tests::chaos {
namespace {

using base::cat;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr unsigned kMarker = 3;
constexpr milliseconds kCatchUp{60'000};  // an agent that backs off from a failing API server asks again within that
constexpr milliseconds kPatience{15'000};
constexpr double kKillsUntil = 0.4;  // of the length; then the agents live on and their memory is watched
constexpr std::size_t kShown = 20;
constexpr std::size_t kLogShown = 4000;  // bytes

// The kernels of a stage that has known nothing but the end.
Result<std::vector<KernelState>> fresh_states(const std::string& dataplane, History& history) {
  const auto fresh = Stage::create(dataplane, history.objects());
  if (!fresh) return fresh.error().with_context("the fresh cluster");
  std::vector<KernelState> states;
  for (unsigned node = 1; node <= kNodes; ++node) {
    TRY_CONTEXT((*fresh)->wait_for_marker(node, kMarker, kCatchUp), "the fresh cluster");
    states.push_back(TRY(kernel_state(dataplane, (*fresh)->bed(), node)));
  }
  return states;
}

// Waits for the two to be alike: the last object to arrive may be a Node or a ServiceCIDR, which no status shows.
Result<std::vector<std::string>> compare(Run& run, Stage& stage, unsigned node, const KernelState& fresh) {
  const auto deadline = Clock::now() + kPatience;
  for (;;) {
    const auto state = TRY(kernel_state(stage.dataplane(), stage.bed(), node));
    std::vector<std::string> found = differences(state, fresh);
    if (found.empty() || Clock::now() > deadline) return found;
    TRY(run.pass(milliseconds(100)));
  }
}

void report_differences(SoakResult& result, const std::string& when, unsigned node,
                        const std::vector<std::string>& found) {
  result.checks.push_back(
      {cat("kernel differs from a fresh one", when, ", node", node), static_cast<double>(found.size()), 0, "lines"});
  if (!found.empty()) result.evidence.push_back(cat("the kernel of node", node, when, " and a fresh one:"));
  for (std::size_t i = 0; i < std::min(found.size(), kShown); ++i) result.evidence.push_back(found[i]);
}

Status verify_restart(Run& run, Stage& stage, unsigned node, const KernelState& fresh, SoakResult& result) {
  TRY(stage.agent(node).terminate());
  TRY(stage.agent(node).launch());
  TRY(stage.wait_for_marker(node, kMarker, kCatchUp));
  const auto status = TRY(stage.agent(node).status());
  result.checks.push_back(
      {cat("kernel writes of a restart, node", node), static_cast<double>(status.kernel_writes), 0, "writes"});
  report_differences(result, " after a restart", node, TRY(compare(run, stage, node, fresh)));
  return {};
}

// What the agent and the API server say of an agent that does not catch up.
void report_lag(SoakResult& result, Stage& stage, unsigned node) {
  const auto status = stage.agent(node).status();
  const std::string log = stage.agent(node).log();
  const apiserver::Stats stats = stage.server().stats();
  result.evidence.push_back(
      cat("node", node, " is not up to date: ", status ? status->text : status.error().message()));
  result.evidence.push_back(cat("the end of its log:\n", log.substr(log.size() - std::min(log.size(), kLogShown))));
  result.evidence.push_back(cat("the API server: ", stats.open_connections, " connections and ", stats.open_watches,
                                " watches are open, resourceVersion ", stats.version));
  std::vector<apiserver::RequestRecord> requests = stage.server().requests();
  for (std::size_t i = requests.size() - std::min(requests.size(), kShown); i < requests.size(); ++i) {
    std::string line = cat("  ", requests[i].path, " on connection ", requests[i].connection, ": ", requests[i].status);
    for (const auto& [key, value] : requests[i].query) line += cat(" ", key, "=", value);
    result.evidence.push_back(std::move(line));
  }
}

Status verify(Run& run, Stage& stage, History& history, SoakResult& result) {
  TRY(stage.write(history.calm()));
  TRY(stage.write(history.marker(kMarker)));
  std::vector<bool> in_step(kNodes + 1, true);
  for (unsigned node = 1; node <= kNodes; ++node) {
    const Status caught_up = stage.wait_for_marker(node, kMarker, kCatchUp);
    in_step[node] = caught_up.has_value();
    result.checks.push_back({cat("out of step, node", node), in_step[node] ? 0.0 : 1.0, 0, "agents"});
    if (!caught_up) report_lag(result, stage, node);
  }
  const std::vector<KernelState> fresh = TRY(fresh_states(stage.dataplane(), history));
  for (unsigned node = 1; node <= kNodes; ++node) {
    result.counts["kernel objects compared"] += fresh[node - 1].lines.size();
    report_differences(result, "", node, TRY(compare(run, stage, node, fresh[node - 1])));
  }
  for (unsigned node = 1; node <= kNodes; ++node) {
    if (in_step[node]) TRY(verify_restart(run, stage, node, fresh[node - 1], result));
  }
  return {};
}

}  // namespace

bool SoakResult::ok() const {
  return std::all_of(checks.begin(), checks.end(), [](const Check& check) { return check.ok(); });
}

Result<SoakResult> soak(const SoakOptions& options, const std::function<void(const std::string&)>& progress) {
  Plan plan(options.seed, universe());
  const auto created = Stage::create(options.dataplane, plan.history().objects());
  if (!created) return created.error();
  Stage& stage = **created;
  Run run(options, stage, TRY(start_loads(stage)), progress);
  const auto begin = Clock::now();
  const auto is_over = [&](double share) {
    return std::chrono::duration<double>(Clock::now() - begin) > share * std::chrono::duration<double>(options.length);
  };
  while (!is_over(1)) {
    if (is_over(kKillsUntil)) run.spare_agents();
    const Action action = plan.next();
    TRY(run.act(action));
    TRY(run.pass(milliseconds(action.pause_ms)));
  }
  TRY(run.heal());
  SoakResult result;
  TRY(verify(run, stage, plan.history(), result));
  TRY(run.end_loads());
  run.append_checks(result);
  return result;
}

}  // namespace fairlead::tests::chaos
