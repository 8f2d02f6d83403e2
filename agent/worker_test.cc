#include "agent/worker.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <future>

#include "agent/fake_dataplane.h"

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;

class WorkerTest : public testing::Test {
 protected:
  std::unique_ptr<base::Loop> loop = std::move(*base::Loop::create());
  base::SystemClock clock;
  FakeKernel kernel;  // the worker's while it runs
  int notification_fd = -1;
  std::deque<Outcome> outcomes;
  std::string open_error;
  unsigned asked = 0;
  std::atomic<unsigned> listeners = 0;  // asked for
  std::unique_ptr<Worker> worker;

  void start(bool opens = true, std::function<void()> after_first_replace = {}) {
    worker =
        std::move(*Worker::create(*loop, clock, Backoff{.first = 1ms, .limit = 4ms},
                                  {.open = [this, opens]() -> Result<std::unique_ptr<proxy::dataplane::Dataplane>> {
                                     if (!opens) return Error("no such kernel");
                                     return std::unique_ptr<proxy::dataplane::Dataplane>(
                                         std::make_unique<FakeDataplane>(kernel, notification_fd));
                                   },
                                   .after_first_replace = std::move(after_first_replace),
                                   .listener = [this]() -> std::unique_ptr<Applier::Listener> {
                                     ++listeners;
                                     return nullptr;
                                   }},
                                  {.outcome = [this](Outcome outcome) { outcomes.push_back(std::move(outcome)); },
                                   .open_failed = [this](const Error& error) { open_error = error.message(); },
                                   .wants_all = [this] { ++asked; }}));
    worker->start();
  }
  // Runs the loop until `condition` holds.
  void wait_for(const std::function<bool()>& condition) {
    const base::Instant deadline = clock.now() + 10s;
    while (!condition() && clock.now() < deadline) loop->run_once(50ms);
    ASSERT_TRUE(condition());
  }
  static Work everything(std::vector<ServiceState> states) {
    Work work;
    work.all = Everything{.services = std::move(states)};
    return work;
  }
};

TEST_F(WorkerTest, AppliesWhatIsPutAndReports) {
  start();
  worker->inbox().put(everything({fake_state("a")}));
  wait_for([&] { return outcomes.size() == 1; });
  EXPECT_EQ(outcomes[0].kernel_writes, 1U);
  worker->stop();
  EXPECT_EQ(kernel.services.size(), 1U);
}

TEST_F(WorkerTest, WhatIsPutWhileItIsBusyBecomesOneCall) {
  std::promise<void> busy;
  std::promise<void> release;
  kernel.before_replace = [&] {
    busy.set_value();
    release.get_future().wait();
  };
  start();
  worker->inbox().put(everything({fake_state("a", 0)}));
  busy.get_future().wait();
  for (unsigned i = 1; i <= 1000; ++i) {
    Origin origin;
    origin.generation = i;
    worker->inbox().put(work_from(Changes{.upserted = {fake_state("a", i)}, .deleted = {}}, origin));
  }
  release.set_value();
  wait_for([&] { return outcomes.size() == 2; });
  worker->stop();
  EXPECT_EQ(outcomes.back().origin.generation, 1000U);
  EXPECT_EQ(kernel.calls, (std::vector<std::string>{"replace 1", "apply +1 -0"}));
  EXPECT_EQ(kernel.services.at({"default", "a"}), fake_state("a", 1000));
}

TEST_F(WorkerTest, RetriesOnItsOwn) {
  kernel.fail[{"default", "a"}] = 3;
  start();
  worker->inbox().put(everything({fake_state("a")}));
  wait_for([&] { return !outcomes.empty() && outcomes.back().failures.empty(); });
  EXPECT_EQ(outcomes.size(), 4U);
}

TEST_F(WorkerTest, AsksForTheCompleteStateAfterAFailureOfTheWhole) {
  kernel.fail_all = 1;
  start();
  worker->inbox().put(everything({fake_state("a")}));
  wait_for([&] { return asked == 1; });
  worker->inbox().put(everything({fake_state("a")}));
  wait_for([&] { return outcomes.size() == 2; });
  EXPECT_TRUE(outcomes.back().failures.empty());
}

TEST_F(WorkerTest, CleansUpOnceAfterTheFirstCompleteState) {
  kernel.fail_all = 1;
  std::atomic<int> cleaned = 0;
  start(true, [&] { ++cleaned; });
  worker->inbox().put(everything({fake_state("a")}));
  wait_for([&] { return asked == 1; });
  EXPECT_EQ(cleaned, 0) << "the first one failed";
  worker->inbox().put(everything({fake_state("a")}));
  worker->inbox().put(everything({fake_state("b")}));
  wait_for([&] { return outcomes.size() >= 2; });
  worker->stop();
  EXPECT_EQ(cleaned, 1);
}

TEST_F(WorkerTest, HandlesNotificationsOfTheKernel) {
  notification_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
  const base::Fd owner(notification_fd);
  start();
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(notification_fd, &one, sizeof one), 8);
  wait_for([&] { return !outcomes.empty(); });
  EXPECT_EQ(outcomes[0].kind, Outcome::Kind::Notification);
  worker->stop();
}

TEST_F(WorkerTest, OnlyADataplaneThatTranslatesByConntrackHasItCleaned) {
  for (const bool by_conntrack : {true, false}) {
    kernel.translates_by_conntrack = by_conntrack;
    start();
    worker->inbox().put(everything({}));
    wait_for([&] { return !outcomes.empty(); });
    worker->stop();
    outcomes.clear();
    EXPECT_EQ(listeners, 1U);
  }
}

TEST_F(WorkerTest, AFailedOpenIsReported) {
  start(false);
  wait_for([&] { return !open_error.empty(); });
  EXPECT_EQ(open_error, "no such kernel");
}

TEST_F(WorkerTest, StopsBeforeAnythingWasPut) {
  start();
  worker->stop();
  EXPECT_TRUE(kernel.calls.empty());
}

}  // namespace
}  // namespace fairlead::agent
