#include "agent/ledger.h"

#include <gtest/gtest.h>

#include "agent/failure_log.h"
#include "agent/fake_dataplane.h"

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;

const Key kA{"default", "a"};

class LedgerTest : public testing::Test {
 protected:
  base::FakeClock clock;
  Ledger ledger{clock};

  static Outcome outcome(Outcome::Kind kind, std::vector<Key> tried, std::vector<proxy::dataplane::Failure> failures) {
    Outcome result;
    result.kind = kind;
    result.tried = std::move(tried);
    result.failures = std::move(failures);
    return result;
  }
};

TEST_F(LedgerTest, AFailureIsCountedOverAttemptsAndForgottenWhenItWorks) {
  ledger.done(outcome(Outcome::Kind::Replace, {}, {{kA, Error("full")}}));
  const base::WallTime since = clock.wall();
  clock.advance(1s);
  ledger.done(outcome(Outcome::Kind::Retry, {kA}, {{kA, Error("still full")}}));
  EXPECT_EQ(ledger.failing().at(kA), (Ledger::Failing{.error = "still full", .attempts = 2, .since = since}));
  ledger.done(outcome(Outcome::Kind::Apply, {Key{"default", "b"}}, {}));
  EXPECT_TRUE(ledger.failing().contains(kA)) << "another service says nothing about it";
  ledger.done(outcome(Outcome::Kind::Retry, {kA}, {}));
  EXPECT_TRUE(ledger.failing().empty());
}

TEST_F(LedgerTest, ACompleteStateClearsOldFailures) {
  ledger.done(outcome(Outcome::Kind::Replace, {}, {{kA, Error("full")}}));
  ledger.done(outcome(Outcome::Kind::Replace, {}, {}));
  EXPECT_TRUE(ledger.failing().empty());
}

TEST_F(LedgerTest, IsSyncedOnlyWhenACompleteStateWorkedAsAWhole) {
  ledger.done(outcome(Outcome::Kind::Replace, {}, {{Key{}, Error("no buffer space")}}));
  EXPECT_FALSE(ledger.synced());
  EXPECT_EQ(ledger.general_error(), "no buffer space");
  clock.advance(2s);
  ledger.done(outcome(Outcome::Kind::Replace, {}, {{kA, Error("full")}}));
  EXPECT_TRUE(ledger.synced());
  EXPECT_EQ(ledger.totals().first_sync_after, 2s);
}

TEST_F(LedgerTest, AnObjectThatFailsIsListedAndDoesNotCountAsTheWhole) {
  ledger.done(outcome(Outcome::Kind::Replace, {}, {{Key{}, Error("no tc"), "interface eth1"}}));
  EXPECT_TRUE(ledger.synced());
  EXPECT_EQ(ledger.general_error(), "");
  EXPECT_EQ(ledger.failing().begin()->first.to_string(), "interface eth1");
}

TEST_F(LedgerTest, LastChangeIsTheFirstCompleteStateUntilAServiceChanges) {
  clock.advance(5s);
  Work all;
  all.all.emplace();
  ledger.sent(all);
  const base::WallTime first = clock.wall();
  clock.advance(5s);
  ledger.sent(work_from(Changes{.upserted = {fake_state("a")}, .deleted = {}}, {}));
  EXPECT_EQ(ledger.last_change(kA), clock.wall());
  EXPECT_EQ(ledger.last_change({"default", "b"}), first);
}

TEST(FailureLog, TellsAnErrorOnceUntilItChangesOrGetsOld) {
  base::FakeClock clock;
  FailureLog log(clock);
  EXPECT_TRUE(log.is_due("a", "full"));
  EXPECT_FALSE(log.is_due("a", "full"));
  EXPECT_TRUE(log.is_due("a", "gone"));
  clock.advance(FailureLog::kRepeatAfter);
  EXPECT_TRUE(log.is_due("a", "gone"));
  EXPECT_EQ(log.take_held_back(), 0U);
}

TEST(FailureLog, HoldsBackAFloodAndSaysSo) {
  base::FakeClock clock;
  FailureLog log(clock);
  unsigned told = 0;
  for (int i = 0; i < 100; ++i) told += log.is_due(base::cat("service", i), "full") ? 1 : 0;
  EXPECT_EQ(told, FailureLog::kLinesPerWindow);
  EXPECT_EQ(log.take_held_back(), 100 - FailureLog::kLinesPerWindow);
  clock.advance(FailureLog::kWindow);
  EXPECT_TRUE(log.is_due("service99", "full"));
}

TEST(FailureLog, KnowsWhatRecovered) {
  base::FakeClock clock;
  FailureLog log(clock);
  EXPECT_FALSE(log.recovered("a"));
  EXPECT_TRUE(log.is_due("a", "full"));
  EXPECT_TRUE(log.recovered("a"));
  EXPECT_TRUE(log.is_due("a", "full")) << "it fails anew";
}

}  // namespace
}  // namespace fairlead::agent
