// What the tests of every runtime start from: plugins, a client outside, and the promise that nothing is left.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/datapath/assert_ok.h"
#include "tests/runtimes/host.h"

namespace fairlead::tests::runtimes {

class PodTest : public testing::Test {
 protected:
  // Programs of the runtime; a test is skipped where one is missing.
  explicit PodTest(std::vector<std::string> programs) : programs_(std::move(programs)) {}

  void SetUp() override {
    if (const std::string missing = missing_programs(programs_); !missing.empty())
      GTEST_SKIP() << "not installed: " << missing << " (./dev setup)";
    ASSERT_OK(install_plugins());
    auto outside = Outside::create();
    ASSERT_OK(outside);
    outside_.emplace(*std::move(outside));
  }

  const Outside& outside() const { return *outside_; }

  // The state of the host is what it was; a link may take a moment to go, so this waits some seconds for it.
  void expect_back_to(const std::vector<std::string>& before) const;
  // host_state(), which must not fail.
  static std::vector<std::string> state();

 private:
  std::vector<std::string> programs_;
  std::optional<Outside> outside_;
};

}  // namespace fairlead::tests::runtimes
