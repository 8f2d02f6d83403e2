#include "tests/cni/host.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file.h"

namespace fairlead::cnitest {
namespace {

CniHost host() {
  auto made = CniHost::create();
  EXPECT_TRUE(made) << made.error().message();
  return *std::move(made);
}

TEST(CniHostTest, AContainerIsANetworkNamespaceOfItsOwnWithLoopbackDown) {
  CniHost h = host();
  ASSERT_TRUE(h.add_container("c1"));
  EXPECT_NE(*h.shell("ip link"), *h.shell("ip -n c1 link"));
  EXPECT_NE(h.shell("ip -n c1 link show lo")->find("state DOWN"), std::string::npos);
  ASSERT_TRUE(h.remove_container("c1"));
  EXPECT_FALSE(h.shell("ip -n c1 link"));
}

TEST(CniHostTest, WhatItWritesIsNotOnThisMachine) {
  const CniHost h = host();
  ASSERT_TRUE(h.shell("mkdir -p /var/lib/cni/x /etc/cni/tuning /run/fairlead; echo hello > /etc/cni/tuning/seen"));
  struct stat file {};
  EXPECT_NE(::stat("/etc/cni/tuning/seen", &file), 0);
  EXPECT_NE(::stat("/var/lib/cni/x", &file), 0);
}

TEST(CniHostTest, ACommandHasTheGivenEnvironmentAndInputAlone) {
  const CniHost h = host();
  const auto done = h.run({.argv = {"/bin/sh", "-c", "/usr/bin/env | /bin/grep ONE; /bin/cat; echo no >&2; exit 3"},
                           .environment = {{"ONE", "1"}},
                           .input = "hello"});
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(done->exit_code, 3);
  EXPECT_EQ(done->out, "ONE=1\nhello");
  EXPECT_EQ(done->err, "no\n");
  EXPECT_GT(done->took.count(), 0);
}

TEST(CniHostTest, ACommandDiesAtTheChosenSystemCallAndHasNotMadeIt) {
  const CniHost h = host();
  const Command touch{.argv = {"/usr/bin/touch", "/run/made"}, .environment = {}, .input = ""};
  unsigned last = 1;
  bool made_before_its_end = false;
  for (;; ++last) {
    const auto killed = h.run_until_syscall(touch, last);
    ASSERT_TRUE(killed) << killed.error().message();
    if (!*killed) break;
    EXPECT_EQ((*killed)->exit_code, 128 + 9);
    const bool made = h.shell("test -e /run/made").has_value();
    EXPECT_GE(made, made_before_its_end) << "a later death undid it";
    made_before_its_end = made;
    if (last == 1) {
      EXPECT_FALSE(made);
    }
  }
  EXPECT_GT(last, 10U);
  EXPECT_TRUE(made_before_its_end);
}

}  // namespace
}  // namespace fairlead::cnitest
