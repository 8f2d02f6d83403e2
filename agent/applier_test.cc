#include "agent/applier.h"

#include <gtest/gtest.h>

#include "agent/fake_dataplane.h"

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;
using Strings = std::vector<std::string>;

const Key kA{"default", "a"};
const Key kB{"default", "b"};

// Back-off without chance: attempt n waits half of 100 ms * 2^(n-1).
class ApplierTest : public testing::Test {
 protected:
  FakeKernel kernel;
  FakeDataplane dataplane{kernel};
  base::FakeClock clock;
  Applier applier{dataplane, clock, Backoff{}, [] { return 0.0; }};

  static Work everything(std::vector<ServiceState> states) {
    Work work;
    work.all = Everything{.services = std::move(states)};
    work.origin.generation = 1;
    return work;
  }
  static Work changes(std::vector<ServiceState> upserted, std::vector<Key> deleted = {}, std::uint64_t generation = 2) {
    Origin origin;
    origin.generation = generation;
    return work_from(Changes{.upserted = std::move(upserted), .deleted = std::move(deleted)}, origin);
  }
  // Moves time to the next retry and makes it.
  Outcome next_retry() {
    clock.advance(*applier.due() - clock.now());
    return applier.retry();
  }
};

TEST_F(ApplierTest, AppliesNothingBeforeTheCompleteState) {
  EXPECT_FALSE(applier.apply(changes({fake_state("a")}, {}, 7)));
  EXPECT_TRUE(kernel.calls.empty());
  const auto outcome = applier.apply(everything({fake_state("a")}));
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->origin.generation, 7U) << "the earlier batch is in the complete state";
  EXPECT_EQ(kernel.calls, Strings{"replace 1"});
}

TEST_F(ApplierTest, TheSameStateTwiceWritesNothing) {
  EXPECT_EQ(applier.apply(everything({fake_state("a"), fake_state("b")}))->kernel_writes, 2U);
  EXPECT_EQ(applier.apply(everything({fake_state("a"), fake_state("b")}))->kernel_writes, 0U);
}

TEST_F(ApplierTest, AFailedServiceIsTriedAgainAloneWithGrowingDelay) {
  kernel.fail[kA] = 2;
  EXPECT_EQ(applier.apply(everything({fake_state("a"), fake_state("b")}))->failures.size(), 1U);
  EXPECT_TRUE(kernel.services.contains(kB)) << "the rest is applied";

  EXPECT_EQ(*applier.due() - clock.now(), 50ms);
  EXPECT_EQ(next_retry().failures.size(), 1U);
  EXPECT_EQ(*applier.due() - clock.now(), 100ms);
  const Outcome last = next_retry();
  EXPECT_TRUE(last.failures.empty());
  EXPECT_EQ(last.tried, std::vector<Key>{kA});
  EXPECT_EQ(kernel.calls, (Strings{"replace 2", "apply +1 -0", "apply +1 -0"}));
  EXPECT_TRUE(kernel.services.contains(kA));
  EXPECT_FALSE(applier.due());
}

TEST_F(ApplierTest, RetryBeforeItIsDueDoesNothing) {
  kernel.fail[kA] = 1;
  applier.apply(everything({fake_state("a")}));
  EXPECT_TRUE(applier.retry().tried.empty());
  EXPECT_EQ(kernel.calls, Strings{"replace 1"});
}

TEST_F(ApplierTest, NewerWorkReplacesWhatWasToBeTriedAgain) {
  kernel.fail[kA] = 1;
  applier.apply(everything({fake_state("a", 1)}));
  applier.apply(changes({fake_state("a", 2)}));
  EXPECT_FALSE(applier.due());
  EXPECT_EQ(kernel.services.at(kA), fake_state("a", 2));
}

TEST_F(ApplierTest, AFailedDeleteIsTriedAgainAsADelete) {
  applier.apply(everything({fake_state("a")}));
  kernel.fail[kA] = 1;
  applier.apply(changes({}, {kA}));
  EXPECT_TRUE(kernel.services.contains(kA));
  next_retry();
  EXPECT_FALSE(kernel.services.contains(kA));
  EXPECT_EQ(kernel.calls.back(), "apply +0 -1");
}

TEST_F(ApplierTest, PersistentFailureWantsTheCompleteStateOnce) {
  kernel.fail[kA] = 1000;
  applier.apply(everything({fake_state("a")}));
  unsigned asked = 0;
  for (int i = 0; i < 10; ++i) {
    next_retry();
    asked += applier.all_due() ? 1 : 0;
    applier.asked_for_all();
  }
  EXPECT_EQ(asked, 1U);
  EXPECT_LE(*applier.due() - clock.now(), 30s);
}

TEST_F(ApplierTest, AFailureOfTheWholeCallWantsTheCompleteState) {
  applier.apply(everything({fake_state("a")}));
  kernel.fail_all = 1;
  const auto failed = applier.apply(changes({fake_state("b")}, {}, 5));
  ASSERT_TRUE(failed && applier.all_due());
  EXPECT_EQ(failed->origin.generation, 0U) << "not applied";
  const auto repaired = applier.apply(everything({fake_state("a"), fake_state("b")}));
  EXPECT_EQ(repaired->origin.generation, 5U);
  EXPECT_FALSE(applier.all_due());
}

TEST_F(ApplierTest, TheCompleteStateIsWantedLaterAndLaterWhileItDoesNotHelp) {
  kernel.fail_all = 2;
  applier.apply(everything({fake_state("a")}));
  EXPECT_EQ(*applier.all_due() - clock.now(), 50ms);
  applier.apply(everything({fake_state("a")}));
  EXPECT_EQ(*applier.all_due() - clock.now(), 100ms);
  applier.apply(everything({fake_state("a")}));
  EXPECT_FALSE(applier.all_due());
  EXPECT_TRUE(kernel.services.contains(kA));
}

TEST_F(ApplierTest, ChangesThatWaitForTheCompleteStateMakeItWantedWithinASecond) {
  kernel.fail_all = 9;
  for (int i = 0; i < 9; ++i) applier.apply(everything({}));
  EXPECT_GT(*applier.all_due() - clock.now(), 10s);
  EXPECT_FALSE(applier.apply(changes({fake_state("b")})));
  EXPECT_EQ(*applier.all_due() - clock.now(), 1s);
}

TEST_F(ApplierTest, AnObjectThatFailsHoldsNoChangesBack) {
  kernel.object_failures = 1;
  applier.apply(everything({}));
  EXPECT_TRUE(applier.all_due());
  EXPECT_TRUE(applier.apply(changes({fake_state("a")})));
  EXPECT_TRUE(kernel.services.contains(kA));
}

TEST_F(ApplierTest, AFailureOfAServiceThatWasNotTriedIsNeverTakenForADelete) {
  applier.apply(everything({fake_state("a"), fake_state("b")}));
  kernel.blame_on_apply = kB;
  applier.apply(changes({fake_state("a", 2)}));
  EXPECT_FALSE(applier.due());
  EXPECT_TRUE(applier.all_due());
  EXPECT_TRUE(kernel.services.contains(kB));
}

TEST_F(ApplierTest, AFailedNotificationWantsTheCompleteState) {
  applier.apply(everything({}));
  kernel.notify_failures = 1;
  applier.handle_notification();
  EXPECT_TRUE(applier.all_due());
  applier.apply(everything({}));
  applier.handle_notification();
  EXPECT_FALSE(applier.all_due());
}

TEST(BackoffDelay, DoublesToTheLimitAndIsSpreadOverItsUpperHalf) {
  const Backoff backoff;
  EXPECT_EQ(backoff.delay(1, 0.0), 50ms);
  EXPECT_EQ(backoff.delay(1, 0.5), 75ms);
  EXPECT_EQ(backoff.delay(3, 0.0), 200ms);
  EXPECT_EQ(backoff.delay(1000, 0.0), 15s);
  EXPECT_LT(backoff.delay(1000, 0.999), 30s);
}

}  // namespace
}  // namespace fairlead::agent
