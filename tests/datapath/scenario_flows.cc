// Flows that go on in the background while a scenario's services change.
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>

#include "base/strings.h"
#include "tests/datapath/assert_ok.h"
#include "tests/datapath/scenario_player.h"

namespace fairlead::testbed {
namespace {

using std::chrono::milliseconds;

constexpr unsigned kReportMs = 20;
constexpr milliseconds kReportLimit{5000};
constexpr unsigned kRate = 200;        // requests a second
constexpr unsigned kDatagramMs = 200;  // for the answer to one of them
constexpr unsigned kAnswerMs = 5000;
constexpr unsigned kEnough = 20;  // answers that show a flow to be well
constexpr unsigned kBegun = 3;
constexpr unsigned kMostReports = 500;   // 10 s
constexpr unsigned kSilentReports = 15;  // in a row

using Counts = std::map<std::string, std::uint64_t>;

// Whatever counted up did so for one of these.
bool only_by(const Counts& before, const Counts& now, const std::vector<std::string>& names) {
  return std::all_of(now.begin(), now.end(), [&](const auto& count) {
    const auto old = before.find(count.first);
    const bool more = old == before.end() || old->second != count.second;
    return !more || std::find(names.begin(), names.end(), count.first) != names.end();
  });
}

}  // namespace

void ScenarioPlayer::start_flow(const Check& check) {
  const Target target = target_of(check.target);
  auto load = testbed().start_load(check.client,
                                   {.to = target,
                                    .style = check.style,
                                    .long_lived = true,
                                    .rate = kRate,
                                    .timeout_ms = target.transport == Transport::Udp ? kDatagramMs : kAnswerMs,
                                    .report_every_ms = kReportMs},
                                   check.membership);
  ASSERT_OK(load);
  Flow& started = flows_[check.memory];
  started = {check.target, *std::move(load)};
  for (unsigned i = 0; i < kMostReports; ++i) {
    const auto report = started.load->next_report(kReportLimit);
    ASSERT_OK(report);
    if (check.begins_unanswered) {
      ASSERT_EQ(report->answered, 0U) << *report;
    }
    if ((check.begins_unanswered ? report->requests : report->answered) >= kBegun) return;
  }
  ADD_FAILURE() << "the flow does not begin";
}

// The one after those that nobody has read yet.
Result<LoadReport> ScenarioPlayer::newest_report(const std::string& flow) {
  Load& load = *flows_.at(flow).load;
  while (load.next_report(milliseconds(0))) {
  }
  return load.next_report(kReportLimit);
}

void ScenarioPlayer::expect_flow_goes_on(const Check& check) {
  const auto first = newest_report(check.memory);
  ASSERT_OK(first);
  for (unsigned i = 0; i < kMostReports; ++i) {
    const auto report = newest_report(check.memory);
    ASSERT_OK(report);
    ASSERT_EQ(report->failed(), 0U) << *report;
    ASSERT_EQ(report->connections, 1U) << *report;
    ASSERT_EQ(report->answers.size(), 1U) << *report;
    if (report->answered >= first->answered + kEnough) return;
  }
  ADD_FAILURE() << "nothing is answered any more";
}

void ScenarioPlayer::expect_flow_moves(const Check& check) {
  std::vector<std::string> doors;
  for (const std::string& endpoint : check.endpoints) {
    for (std::string& door : doors_of(endpoint, flows_.at(check.memory).to)) doors.push_back(std::move(door));
  }
  auto before = newest_report(check.memory);
  ASSERT_OK(before);
  for (unsigned i = 0; i < kMostReports; ++i) {
    auto report = newest_report(check.memory);
    ASSERT_OK(report);
    if (report->failed() != before->failed() || !only_by(before->reached, report->reached, doors)) {
      before = std::move(report);  // not yet
    } else if (report->answered >= before->answered + kEnough) {
      return;
    }
  }
  ADD_FAILURE() << "not yet at " << base::join(doors, ", ") << ": " << *before;
}

void ScenarioPlayer::expect_flow_falls_silent(const Check& check) {
  unsigned silent = 0;
  auto before = newest_report(check.memory);
  ASSERT_OK(before);
  for (unsigned i = 0; i < kMostReports && silent < kSilentReports; ++i) {
    auto report = newest_report(check.memory);
    ASSERT_OK(report);
    silent = report->answered == before->answered ? silent + 1 : 0;
    before = std::move(report);
  }
  EXPECT_EQ(silent, kSilentReports) << *before;
}

}  // namespace fairlead::testbed
