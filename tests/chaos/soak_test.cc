// A short soak of each dataplane; ./dev soak is the long one.
#include "tests/chaos/soak.h"

#include <gtest/gtest.h>

#include <iostream>

#include "proxy/dataplane/select.h"
#include "tests/chaos/damage.h"
#include "tests/chaos/kernel_state.h"
#include "tests/chaos/stage.h"

namespace fairlead::tests::chaos {
namespace {

class Soak : public testing::TestWithParam<std::string> {};

TEST_P(Soak, NothingOfALittleChaosIsNoticedOrLeft) {
  const SoakOptions options{.dataplane = GetParam(), .length = std::chrono::seconds(20), .seed = 20};
  const auto result = soak(options, [](const std::string& line) { std::cout << line << std::endl; });
  ASSERT_TRUE(result) << result.error().message();
  for (const Check& check : result->checks) EXPECT_TRUE(check.ok()) << check.name << ": " << check.value;
  EXPECT_GT(result->counts.at("events"), 100U);
  EXPECT_GT(result->counts.at("requests"), 1000U);
  EXPECT_GT(result->counts.at("kill"), 0U);
  if (result->ok()) return;
  for (const std::string& line : result->evidence) std::cout << line << std::endl;
}

// The comparison is worth something only if it sees what is missing.
TEST_P(Soak, WhatIsMissingInAKernelShows) {
  History history(1, universe());
  for (int i = 0; i < 200; ++i) (void)history.next();
  (void)history.calm();
  const auto stage = Stage::create(GetParam(), history.objects());
  ASSERT_TRUE(stage) << stage.error().message();
  const auto before = kernel_state(GetParam(), (*stage)->bed(), 1);
  ASSERT_TRUE(before) << before.error().message();
  ASSERT_TRUE((*stage)->agent(1).terminate());
  const auto still = kernel_state(GetParam(), (*stage)->bed(), 1);
  ASSERT_TRUE(still) << still.error().message();
  EXPECT_TRUE(differences(*still, *before).empty());
  const auto done = damage(**stage, 1, 3);
  ASSERT_TRUE(done) << done.error().message();
  const auto after = kernel_state(GetParam(), (*stage)->bed(), 1);
  ASSERT_TRUE(after) << after.error().message();
  EXPECT_FALSE(differences(*after, *before).empty()) << done->text;
}

std::vector<std::string> dataplanes() {
  std::vector<std::string> names;
  for (const auto& module : proxy::dataplane::modules()) names.push_back(module.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Dataplanes, Soak, testing::ValuesIn(dataplanes()),
                         [](const testing::TestParamInfo<std::string>& dataplane) { return dataplane.param; });

}  // namespace
}  // namespace fairlead::tests::chaos
