#include "agent/conntrack_cleaner.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "agent/fake_dataplane.h"
#include "net/conntrack/fake.h"

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;
using net::conntrack::Entry;
using proxy::conntrack::Pass;

net::Ip ip(const char* text) { return *net::Ip::parse(text); }

// A UDP service at 10.96.0.1:53, and a client's flow through it.
ServiceState dns(const std::vector<const char*>& serving) {
  ServiceState state = fake_state("dns", static_cast<unsigned>(serving.size()));
  proxy::model::PortState port;
  port.protocol = proxy::model::Protocol::Udp;
  port.frontends = {{.address = ip("10.96.0.1"), .port = 53}};
  for (const char* address : serving) port.serving_endpoints.push_back({.address = ip(address), .port = 53});
  state.ports = {port};
  return state;
}
Entry flow_to(const char* endpoint, std::uint16_t source_port = 1000) {
  Entry out;
  out.protocol = net::conntrack::kUdp;
  out.original = {ip("10.244.0.9"), ip("10.96.0.1"), source_port, 53};
  out.reply = {ip(endpoint), ip("10.244.0.9"), 53, source_port};
  return out;
}

// The fake table belongs to the cleaner's thread; a test looks at it after a pass was reported, or in `done`.
class ConntrackCleanerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto table = std::make_unique<net::conntrack::FakeKernel>();
    conntrack = table.get();
    conntrack->entries = {flow_to("10.244.0.1", 1000), flow_to("10.244.0.2", 1001)};
    cleaner = std::move(*ConntrackCleaner::start({.clock = cleaners_clock,
                                                  .open = [&]() -> Result<std::unique_ptr<net::conntrack::Kernel>> {
                                                    return std::unique_ptr<net::conntrack::Kernel>(std::move(table));
                                                  },
                                                  .local_addresses = [this]() -> Result<std::vector<net::Ip>> {
                                                    if (in_pass) in_pass();
                                                    return std::vector<net::Ip>();
                                                  },
                                                  .done =
                                                      [this](const Pass& pass) {
                                                        if (on_pass) on_pass();
                                                        deleted += pass.deleted;
                                                        ++passes;
                                                      },
                                                  .retry_first = 1ms,
                                                  .retry_limit = 4ms}));
  }
  Applier applier_with_listener() {
    return {dataplane, clock, Backoff{}, [] { return 0.0; }, cleaner.get()};
  }
  void wait_for_passes(unsigned count) {
    const base::Instant deadline = clock.now() + 10s;
    while (passes < count && clock.now() < deadline) std::this_thread::yield();
    ASSERT_EQ(passes, count);
  }
  static Work everything(std::vector<ServiceState> states) {
    Work work;
    work.all = Everything{.services = std::move(states)};
    return work;
  }
  static Work change(ServiceState state) {
    return work_from(Changes{.upserted = {std::move(state)}, .deleted = {}}, {});
  }

  base::SystemClock clock;
  base::FakeClock cleaners_clock;
  std::function<void()> in_pass;  // set before the first pass
  FakeKernel kernel;
  FakeDataplane dataplane{kernel};
  net::conntrack::FakeKernel* conntrack = nullptr;
  std::function<void()> on_pass;  // set before the first pass
  std::atomic<unsigned> passes = 0;
  std::atomic<std::size_t> deleted = 0;
  std::unique_ptr<ConntrackCleaner> cleaner;
};

TEST_F(ConntrackCleanerTest, TheFirstCompleteStateAndEachLaterChangeAreFollowedByAPass) {
  Applier applier = applier_with_listener();
  applier.apply(everything({dns({"10.244.0.1", "10.244.0.2"})}));
  wait_for_passes(1);
  EXPECT_EQ(deleted, 0U);
  applier.apply(change(dns({"10.244.0.1"})));
  wait_for_passes(2);
  EXPECT_EQ(deleted, 1U);
  applier.apply(change(dns({})));
  wait_for_passes(3);
  EXPECT_EQ(deleted, 2U);
}

TEST_F(ConntrackCleanerTest, ChangesThatAreNotAboutFlowsAreNot) {
  Applier applier = applier_with_listener();
  applier.apply(everything({dns({"10.244.0.1"})}));
  wait_for_passes(1);
  ServiceState same = dns({"10.244.0.1"});
  same.counts.total = 7;
  applier.apply(change(same));
  applier.apply(change(fake_state("web")));
  applier.apply(change(dns({"10.244.0.2"})));
  wait_for_passes(2);
  cleaner.reset();
  EXPECT_EQ(passes, 2U);
}

TEST_F(ConntrackCleanerTest, NothingIsCleanedBeforeTheRulesAreInPlace) {
  kernel.fail_all = 1;
  Applier applier = applier_with_listener();
  std::atomic<bool> in_place = false;
  on_pass = [&] { EXPECT_TRUE(in_place); };
  applier.apply(everything({dns({"10.244.0.1"})}));
  in_place = true;
  applier.apply(everything({dns({"10.244.0.1"})}));
  wait_for_passes(1);
  EXPECT_EQ(deleted, 1U);
}

TEST_F(ConntrackCleanerTest, AServiceThatFailedIsReviewedAgainWithItsRetry) {
  Applier applier = applier_with_listener();
  applier.apply(everything({dns({"10.244.0.1", "10.244.0.2"})}));
  wait_for_passes(1);
  kernel.fail[{"default", "dns"}] = 1;
  applier.apply(change(dns({"10.244.0.1"})));
  wait_for_passes(2);
  const base::Instant deadline = clock.now() + 10s;
  while (clock.now() < *applier.due() && clock.now() < deadline) std::this_thread::yield();
  applier.retry();
  wait_for_passes(3);
}

TEST_F(ConntrackCleanerTest, RepairedRulesAreFollowedByAPassOverEverything) {
  cleaner->replaced({.services = {dns({"10.244.0.1"})}}, {});
  wait_for_passes(1);
  cleaner->repaired();
  wait_for_passes(2);
}

TEST_F(ConntrackCleanerTest, ATableThatCannotBeReadIsTriedAgain) {
  conntrack->refuse = 3;
  cleaner->replaced({.services = {dns({"10.244.0.1"})}}, {});
  wait_for_passes(1);
  EXPECT_EQ(deleted, 1U);
}

TEST_F(ConntrackCleanerTest, AfterAPassItRestsFourTimesAsLong) {
  in_pass = [this] { cleaners_clock.advance(20ms); };
  cleaner->replaced({.services = {dns({"10.244.0.1"})}}, {});
  wait_for_passes(1);
  const base::Instant start = clock.now();
  cleaner->applied({.upserted = {dns({})}, .deleted = {}}, {});
  cleaner->applied({.upserted = {dns({"10.244.0.2"})}, .deleted = {}}, {});
  wait_for_passes(2);
  EXPECT_GE(clock.now() - start, 79ms);  // libevent counts milliseconds
  EXPECT_EQ(deleted, 2U) << "the first one's, and the one that the newest state has no place for";
}

TEST_F(ConntrackCleanerTest, WhatPilesUpDuringAPassIsOneMore) {
  std::promise<void> busy;
  std::promise<void> release;
  on_pass = [&, first = true]() mutable {
    if (!std::exchange(first, false)) return;
    busy.set_value();
    release.get_future().wait();
  };
  cleaner->replaced({.services = {dns({"10.244.0.1", "10.244.0.2"})}}, {});
  busy.get_future().wait();
  for (int i = 0; i < 100; ++i) {
    cleaner->applied({.upserted = {dns({"10.244.0.1", "10.244.0.2"})}, .deleted = {}}, {});
    cleaner->applied({.upserted = {dns({"10.244.0.2"})}, .deleted = {}}, {});
  }
  release.set_value();
  wait_for_passes(2);
  EXPECT_EQ(deleted, 1U);
  cleaner.reset();
  EXPECT_EQ(passes, 2U);
}

}  // namespace
}  // namespace fairlead::agent
