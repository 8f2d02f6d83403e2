// The whole suite runs in a machine of its own.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/runtimes/machine.h"

int main(int argc, char** argv) {
  const auto code = fairlead::tests::runtimes::run_in_machine([&] {
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
  });
  if (code) return *code;
  std::fprintf(stderr, "%s\n", code.error().message().c_str());
  return 1;
}
