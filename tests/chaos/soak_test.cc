// A short soak of each dataplane; ./dev soak is the long one.
#include "tests/chaos/soak.h"

#include <gtest/gtest.h>

#include <iostream>

#include "proxy/dataplane/select.h"

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

std::vector<std::string> dataplanes() {
  std::vector<std::string> names;
  for (const auto& module : proxy::dataplane::modules()) names.push_back(module.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Dataplanes, Soak, testing::ValuesIn(dataplanes()),
                         [](const testing::TestParamInfo<std::string>& dataplane) { return dataplane.param; });

}  // namespace
}  // namespace fairlead::tests::chaos
