#include "tests/chaos/plan.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/chaos/stage.h"

namespace fairlead::tests::chaos {
namespace {

TEST(Plan, TheSameSeedIsTheSamePlan) {
  Plan one(5, universe());
  Plan same(5, universe());
  for (int i = 0; i < 2000; ++i) {
    const Action a = one.next();
    const Action b = same.next();
    ASSERT_EQ(a.text, b.text) << "action " << i;
    ASSERT_EQ(a.pause_ms, b.pause_ms);
    ASSERT_EQ(a.events.size(), b.events.size());
  }
}

TEST(Plan, EverythingThatCanGoWrongDoesAndMostOfItIsChange) {
  Plan plan(6, universe());
  std::map<ActionKind, int> seen;
  for (int i = 0; i < 10000; ++i) ++seen[plan.next().kind];
  EXPECT_EQ(seen.size(), 9u);
  EXPECT_GT(seen[ActionKind::Change], 9000);
}

}  // namespace
}  // namespace fairlead::tests::chaos
