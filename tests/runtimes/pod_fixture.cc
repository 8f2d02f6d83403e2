#include "tests/runtimes/pod_fixture.h"

#include <unistd.h>

#include <chrono>

namespace fairlead::tests::runtimes {

std::vector<std::string> PodTest::state() {
  auto state = host_state();
  EXPECT_OK(state);
  return state ? *std::move(state) : std::vector<std::string>();
}

void PodTest::expect_back_to(const std::vector<std::string>& before) const {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::string changed;
  while (!(changed = difference(before, state())).empty() && std::chrono::steady_clock::now() < deadline)
    ::usleep(50'000);
  EXPECT_EQ(changed, "");
}

}  // namespace fairlead::tests::runtimes
