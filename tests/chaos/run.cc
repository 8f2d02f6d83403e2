#include "tests/chaos/run.h"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/strings.h"
#include "tests/chaos/damage.h"

namespace fairlead::tests::chaos {
namespace {

using base::cat;
using std::chrono::milliseconds;

constexpr std::size_t kMostEvidence = 200;  // lines
constexpr std::size_t kUsualShown = 10;     // of the changes, the last ones
constexpr milliseconds kTick{20};
constexpr milliseconds kSamplePeriod{1000};
constexpr std::uint64_t kBump = 1'000'000;
constexpr milliseconds kStall{1000};  // a tick that took so much longer: nobody got a processor, the loads neither
// A connection that began while an object was missing may take its timeout to fail, and a report to show; and what
// connection tracking remembers of it (kForget) meets the next one from the same port.
constexpr milliseconds kExcuse{kLoadTimeoutMs + 2000 + std::chrono::seconds(kForgetSeconds).count() * 1000};
constexpr double kExcusedPerDamage = 100;
constexpr milliseconds kSettling{2500};  // between a damage and a kill, and between a start and a damage
constexpr double kGrowthMb = 2;
constexpr double kSlopeMbPerMinute = 0.5;
constexpr double kDescriptors = 4;

std::string one_decimal(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

}  // namespace

Run::Run(const SoakOptions& options, Stage& stage, std::vector<Loading> loads, Progress progress)
    : options_(options), stage_(stage), progress_(std::move(progress)) {
  for (Loading& loading : loads) loads_.push_back({.loading = std::move(loading)});
  for (Life& life : lives_) life.started = begin_;
}

double Run::seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

// What a lost request met may have happened its whole timeout ago, and some time before.
void Run::say(const std::string& what, Weight weight) {
  const auto now = Clock::now();
  recent_.push_back({now, weight, cat(one_decimal(seconds()), " s ", what)});
  while (now - recent_.front().at > milliseconds(3 * kLoadTimeoutMs)) recent_.pop_front();
}

void Run::keep_evidence(const std::string& what) {
  if (evidence_.size() > kMostEvidence) return;
  evidence_.push_back(cat(one_decimal(seconds()), " s: ", what, "; before that:"));
  for (std::size_t i = 0; i < recent_.size(); ++i) {
    if (recent_[i].weight == Weight::Notable || i + kUsualShown >= recent_.size())
      evidence_.push_back("  " + recent_[i].text);
  }
}

void Run::after(milliseconds time, std::function<Status()> what) {
  timers_.emplace(Clock::now() + time, std::move(what));
}

Status Run::act(const Action& action) {
  const bool stops = action.kind == ActionKind::Kill || action.kind == ActionKind::Terminate;
  say(action.text, action.kind == ActionKind::Change ? Weight::Usual : Weight::Notable);
  for (const Event& event : action.events) TRY(stage_.write(event));
  counts_["events"] += action.events.size();
  if (stops) return stop_agent(action);
  if (action.kind == ActionKind::Damage) return meddle(action);
  if (action.kind != ActionKind::Change) ++counts_[std::string(to_string(action.kind))];
  apiserver::TestApiServer& server = stage_.server();
  switch (action.kind) {
    case ActionKind::Break: server.break_now(action.what); break;
    case ActionKind::Fault:
      TRY(server.set_faults(action.faults));
      after(milliseconds(action.lasting_ms), [&server] { return server.set_faults({}); });
      break;
    case ActionKind::Compact: server.compact(); break;
    // With versions above all that were seen, as `etcdutl snapshot restore --bump-revision` does: a client
    // that is cut off until an unbumped history has passed its own version cannot tell the two apart.
    case ActionKind::Restore: server.restart(server.version() + kBump); break;
    default: break;
  }
  return {};
}

Status Run::stop_agent(const Action& action) {
  Life& life = lives_[action.node];
  if (spare_agents_ || life.down || Clock::now() - damaged_ < kSettling) return {};
  TRY(pass(milliseconds(action.delay_ms)));
  testbed::AgentProcess& agent = stage_.agent(action.node);
  if (!agent.running()) return {};  // look_at_agents() tells
  life.down = true;
  life.samples.clear();
  if (action.kind == ActionKind::Kill) {
    agent.kill();
  } else {
    TRY(agent.process()->signal(SIGTERM));
    const int exit_code = TRY(agent.process()->wait(std::chrono::seconds(10)));
    // One that has only just begun does not handle the signal yet.
    if (exit_code != 0 && exit_code != 128 + SIGTERM) {
      keep_evidence(cat("SIGTERM to the agent of node", action.node, " ended it with ", exit_code));
      ++life.deaths;
    }
  }
  ++counts_[std::string(to_string(action.kind))];
  after(milliseconds(action.lasting_ms), [this, node = action.node] { return launch(node); });
  return {};
}

Status Run::launch(unsigned node) {
  lives_[node].down = false;
  lives_[node].started = Clock::now();
  say(cat("agent of node", node, " starts"));
  return stage_.agent(node).launch();
}

Status Run::meddle(const Action& action) {
  Life& life = lives_[action.node];
  const bool restarts = !repairs_while_running(options_.dataplane);
  if (life.down || Clock::now() - life.started < kSettling || Clock::now() - damaged_ < kSettling) return {};
  if (restarts && spare_agents_) return {};
  const auto status = stage_.agent(action.node).status();
  if (!status || !status->synced) return {};
  const Damage done = TRY(damage(stage_, action.node, action.choice));
  say(cat("damage on node", action.node, ": ", done.text));
  ++counts_[std::string(to_string(action.kind))];
  if (done.loses_connections) excused_until_ = std::max(excused_until_, Clock::now() + kExcuse);
  if (restarts) {
    life.down = true;
    life.samples.clear();
    stage_.agent(action.node).kill();
    return launch(action.node);
  }
  damaged_ = Clock::now();
  return {};
}

Status Run::fire_timers() {
  while (!timers_.empty() && timers_.begin()->first <= Clock::now()) {
    const auto what = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    TRY(what());
  }
  return {};
}

void Run::take(Watched& watched, const testbed::LoadReport& report) {
  const std::uint64_t before = watched.loading.last.failed();
  const std::uint64_t failed = report.failed() > before ? report.failed() - before : 0;
  watched.loading.last = report;
  if (failed == 0) return;
  const bool excused = Clock::now() < excused_until_;
  (excused ? watched.excused : watched.failed) += failed;
  std::string errors;
  for (const auto& [error, count] : report.errors) errors += cat(" ", error, " x", count);
  say(cat(excused ? "(excused) " : "LOST ", failed, " of ", watched.loading.name, ", in all:", errors));
  if (!excused) keep_evidence(cat("a request of ", watched.loading.name, " failed"));
}

void Run::read_loads() {
  for (Watched& watched : loads_) {
    for (;;) {
      const auto report = watched.loading.load->next_report(milliseconds(0));
      if (!report) break;
      take(watched, *report);
    }
  }
}

void Run::look_at_agents() {
  for (unsigned node = 1; node <= kNodes; ++node) {
    Life& life = lives_[node];
    if (life.down) continue;
    testbed::AgentProcess& agent = stage_.agent(node);
    if (agent.running()) {
      if (const auto sample = sample_process(agent.process()->pid(), seconds())) life.samples.push_back(*sample);
      continue;
    }
    ++life.deaths;
    const std::string log = agent.log();
    keep_evidence(cat("the agent of node", node,
                      " ended by itself: ", log.substr(log.size() - std::min<std::size_t>(log.size(), 2000))));
    life.samples.clear();
    (void)launch(node).has_value();
  }
}

Status Run::tick() {
  TRY(fire_timers());
  read_loads();
  const auto now = Clock::now();
  if (now >= next_sample_) {
    next_sample_ = now + kSamplePeriod;
    look_at_agents();
  }
  if (now >= next_line_) {
    next_line_ += std::chrono::seconds(10);
    progress_(progress_line());
  }
  return {};
}

Status Run::pass(milliseconds time) {
  const auto until = Clock::now() + time;
  for (;;) {
    TRY(tick());
    const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now());
    if (left <= milliseconds(0)) return {};
    const auto before = Clock::now();
    ::poll(nullptr, 0, static_cast<int>(std::min(left, kTick).count()));
    if (Clock::now() - before < kStall) continue;
    say("the machine stood still");
    ++counts_["stalls of the machine"];
    excused_until_ = std::max(excused_until_, Clock::now() + kExcuse);
  }
}

std::string Run::progress_line() const {
  std::uint64_t requests = 0;
  std::uint64_t failed = 0;
  std::uint64_t excused = 0;
  for (const Watched& watched : loads_) {
    requests += watched.loading.last.requests;
    failed += watched.failed;
    excused += watched.excused;
  }
  std::string line = cat(options_.dataplane, " ", static_cast<int>(seconds() + 0.5), " s: ", requests, " requests, ",
                         failed, " lost (", excused, " excused)");
  for (const auto& [what, count] : counts_) line += cat(", ", count, " ", what);
  for (unsigned node = 1; node <= kNodes; ++node) {
    const auto& samples = lives_[node].samples;
    if (!samples.empty()) line += cat(", node", node, " ", one_decimal(samples.back().rss_mb), " MB");
  }
  return line;
}

Status Run::heal() {
  say("everything is healed");
  while (!timers_.empty()) TRY(pass(milliseconds(50)));
  return stage_.server().set_faults({});
}

Status Run::end_loads() {
  read_loads();
  for (Watched& watched : loads_) {
    const testbed::LoadReport report = TRY_CONTEXT(watched.loading.load->stop(), watched.loading.name);
    take(watched, report);
  }
  return {};
}

void Run::append_checks(SoakResult& result) const {
  std::uint64_t requests = 0;
  for (const Watched& watched : loads_) {
    const testbed::LoadReport& report = watched.loading.last;
    requests += report.requests;
    result.checks.push_back({cat("lost: ", watched.loading.name), static_cast<double>(watched.failed), 0, "requests"});
    if (report.answered == 0) result.checks.push_back({cat("silent: ", watched.loading.name), 1, 0, "loads"});
    result.counts["excused"] += watched.excused;
  }
  result.counts["requests"] = requests;
  const std::uint64_t damages = counts_.contains("damage") ? counts_.at("damage") : 0;
  if (damages != 0) {
    result.checks.push_back({"lost around a damage, on average",
                             static_cast<double>(result.counts["excused"]) / static_cast<double>(damages),
                             kExcusedPerDamage, "requests"});
  }
  for (const auto& [what, count] : counts_) result.counts[what] = count;
  for (unsigned node = 1; node <= kNodes; ++node) {
    const Life& life = lives_[node];
    const std::string at = cat(", node", node);
    result.checks.push_back({"ended by itself" + at, static_cast<double>(life.deaths), 0, "agents"});
    const auto grown = growth(life.samples);
    if (!grown) continue;
    result.checks.push_back({cat("memory from ", one_decimal(grown->from_mb), " to ", one_decimal(grown->to_mb), at),
                             grown->to_mb - grown->from_mb, kGrowthMb, "MB"});
    result.checks.push_back({"memory slope" + at, grown->mb_per_minute, kSlopeMbPerMinute, "MB/min"});
    result.checks.push_back({"descriptors more" + at, grown->descriptors, kDescriptors, "fds"});
  }
  result.evidence.insert(result.evidence.end(), evidence_.begin(), evidence_.end());
}

}  // namespace fairlead::tests::chaos
