// Disks that are read-only, full or not ours, in a mount namespace of the test's own.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/strings.h"
#include "ipam/store_fixture_test.h"

namespace fairlead::ipam {
namespace {

class TroubleTest : public PlaceTest {
 protected:
  static void SetUpTestSuite() {
    if (::geteuid() != 0) return;
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) std::abort();
  }
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, to mount";
  }
  void TearDown() override { ::umount2(place_.data_dir.c_str(), MNT_DETACH); }

  void mount_tmpfs(const char* options) {
    std::filesystem::create_directories(place_.data_dir);
    ASSERT_EQ(::mount("tmpfs", place_.data_dir.c_str(), "tmpfs", 0, options), 0) << errno;
  }
  void remount(unsigned long flags) {
    ASSERT_EQ(::mount("tmpfs", place_.data_dir.c_str(), "tmpfs", MS_REMOUNT | flags, nullptr), 0) << errno;
  }
  std::string status() const {
    const Status able = available(place_, sets_);
    return able ? "" : able.error().message();
  }

  const std::vector<RangeSet> sets_ = sets_of({"10.1.0.0/24"});
};

TEST_F(TroubleTest, AReadOnlyDiskIsToldAndLosesNothing) {
  mount_tmpfs("size=1m");
  ASSERT_EQ(add(place_, "a", sets_), "10.1.0.2/24");
  const Tree before = reservations();
  remount(MS_RDONLY);
  EXPECT_EQ(add(place_, "b", sets_), place_.directory() + "/10.1.0.3: Read-only file system");
  EXPECT_EQ(del(place_, "a"), place_.directory() + "/10.1.0.2: Read-only file system");
  EXPECT_EQ(del(place_, "b"), "") << "it holds nothing, and that can be read";
  EXPECT_EQ(status(), place_.directory() + ": Read-only file system");
  EXPECT_TRUE(*Store::open(place_)->holds({"a", "eth0"}));
  EXPECT_EQ(reservations(), before);
  remount(0);
  EXPECT_EQ(add(place_, "b", sets_), "10.1.0.3/24");
  EXPECT_EQ(del(place_, "a"), "");
  EXPECT_EQ(status(), "");
}

TEST_F(TroubleTest, AFullDiskIsToldAndHoldsWhatItHeld) {
  mount_tmpfs("size=16k");  // four files of a page each
  ASSERT_EQ(add(place_, "a", sets_), "10.1.0.2/24");
  ASSERT_EQ(add(place_, "b", sets_), "10.1.0.3/24");
  const Tree before = reservations();
  EXPECT_EQ(add(place_, "c", sets_), place_.directory() + "/10.1.0.4: No space left on device");
  EXPECT_EQ(reservations(), before) << "no part of it";
  EXPECT_EQ(status().substr(0, place_.directory().size() + 25), place_.directory() + ": its file system is full");
  EXPECT_EQ(del(place_, "a"), "");
  EXPECT_EQ(status(), "");
  EXPECT_EQ(add(place_, "c", sets_), "10.1.0.4/24");
}

TEST_F(TroubleTest, AFullDiskKeepsNothingOfAnAddWithTwoAddresses) {
  mount_tmpfs("size=16k");
  const std::vector<RangeSet> both = sets_of({"10.1.0.0/24", "fd00::/64"});
  ASSERT_EQ(add(place_, "a", sets_), "10.1.0.2/24");
  EXPECT_EQ(add(place_, "b", both), place_.directory() + "/fd00::2: No space left on device");
  EXPECT_EQ(reservations(), (Tree{{"10.1.0.2", "a\r\neth0"}}));
}

TEST_F(TroubleTest, NoInodesAreAFullDiskToo) {
  mount_tmpfs("size=1m,nr_inodes=6");  // the root, ours, the lock, the boot, one address and the last
  ASSERT_EQ(add(place_, "a", sets_), "10.1.0.2/24");
  EXPECT_EQ(add(place_, "b", sets_), place_.directory() + "/10.1.0.3: No space left on device");
  EXPECT_EQ(reservations().size(), 1U);
  EXPECT_EQ(del(place_, "a"), "");
  EXPECT_EQ(add(place_, "b", sets_), "10.1.0.3/24");
}

// As a rootless runtime: without CAP_DAC_READ_SEARCH, beside a file that is not its own.
TEST_F(TroubleTest, AnUnreadableReservationIsHeldAndTold) {
  std::filesystem::create_directories(place_.directory());
  std::ofstream(place_.directory() + "/10.1.0.2") << "theirs\r\neth0";
  ::chmod((place_.directory() + "/10.1.0.2").c_str(), 0600);
  for (const std::string& path : {place_.directory(), place_.data_dir, temporary_.path()})
    ASSERT_EQ(::chmod(path.c_str(), 0777), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(1);
    if (add(place_, "a", sets_) != "10.1.0.3/24") ::_exit(2);
    if (del(place_, "nobody") != place_.directory() +
                                     "/10.1.0.2: cannot be read, one of 1 such; whose address it is "
                                     "cannot be told")
      ::_exit(3);
    if (del(place_, "a") != "") ::_exit(4);
    auto store = Store::open(place_);
    ::_exit(store && !store->keep_only({}) ? 0 : 5);
  }
  int result = 0;
  ::waitpid(pid, &result, 0);
  EXPECT_EQ(WEXITSTATUS(result), 0);
  EXPECT_EQ(reservations(), (Tree{{"10.1.0.2", "theirs\r\neth0"}}));
  EXPECT_EQ(del(place_, "theirs"), "");
}

}  // namespace
}  // namespace fairlead::ipam
