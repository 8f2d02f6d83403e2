#include "agent/lock.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/file.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

class LockTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fairlead-lock-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root = name;
  }
  void TearDown() override { std::filesystem::remove_all(root); }
  std::string root;
};

TEST_F(LockTest, TheSecondIsRefusedAndToldWhoTheFirstIs) {
  const auto first = InstanceLock::acquire(root + "/a/b");
  ASSERT_TRUE(first) << first.error().message();
  const auto second = InstanceLock::acquire(root + "/a/b");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message(),
            base::cat("another agent is running: pid ", ::getpid(), " holds ", root, "/a/b/lock"));
  EXPECT_EQ(second.error().errno_value(), EWOULDBLOCK);
}

TEST_F(LockTest, OtherDirectoriesAreOtherInstances) {
  const auto first = InstanceLock::acquire(root + "/a");
  EXPECT_TRUE(InstanceLock::acquire(root + "/b"));
}

TEST_F(LockTest, IsFreeAgainWhenTheHolderEnds) {
  { const auto first = InstanceLock::acquire(root); }
  EXPECT_TRUE(InstanceLock::acquire(root));
}

TEST_F(LockTest, IsFreeAgainWhenTheHolderIsKilled) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto held = InstanceLock::acquire(root);
    const char answer = held ? 'y' : 'n';
    if (::write(ready[1], &answer, 1) != 1) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_FALSE(InstanceLock::acquire(root));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(InstanceLock::acquire(root));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(LockTest, AnImpossibleDirectoryIsNamed) {
  ASSERT_TRUE(base::write_file_atomically(root + "/file", "x"));
  const auto lock = InstanceLock::acquire(root + "/file/state");
  ASSERT_FALSE(lock);
  EXPECT_NE(lock.error().message().find(root + "/file/state"), std::string::npos) << lock.error().message();
}

TEST(InstanceClaim, OneAgentPerInstanceWhateverItsStateDirectory) {
  const std::string instance = base::cat("test-", ::getpid());
  {
    const auto first = InstanceClaim::acquire(instance);
    ASSERT_TRUE(first) << first.error().message();
    EXPECT_TRUE(InstanceClaim::acquire(instance + "-other"));
    const auto second = InstanceClaim::acquire(instance);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().message(), base::cat("another agent is running: pid ", ::getpid(), " has instance ",
                                                  instance, " in this network namespace"));
  }
  EXPECT_TRUE(InstanceClaim::acquire(instance));
}

}  // namespace
}  // namespace fairlead::agent
