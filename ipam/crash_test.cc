// kill -9 at every system call, and how many of them a call makes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <cerrno>
#include <cstddef>
#include <ctime>

#include "base/strings.h"
#include "ipam/store_fixture_test.h"
#include "ipam/traced_test.h"

namespace fairlead::ipam {
namespace {

// From now on this process lives on a file system that makes no file without a name (open(2), O_TMPFILE).
bool refuse_unnamed_files() {
  constexpr unsigned kUnnamed = O_TMPFILE & ~O_DIRECTORY;
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kUnnamed, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{std::size(program), program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

class CrashTest : public PlaceTest {
 protected:
  // Kills `work` at its first, second, ... stop, each time from the state that `prepare` makes, and looks at what is
  // left. Tells of the one that lived to its end.
  void kill_everywhere(const std::function<void()>& prepare, const std::function<int()>& work) {
    for (unsigned at = 1;; ++at) {
      std::filesystem::remove_all(place_.data_dir);
      std::filesystem::remove_all(place_.run_dir);
      prepare();
      const Traced traced = run_traced(work, at);
      if (!traced.killed) {
        ASSERT_EQ(traced.exit_code, 0);
        ASSERT_GT(at, 30U) << "it was not killed often enough to mean anything";
        whole_ = traced;
        return;
      }
      ASSERT_NO_FATAL_FAILURE(expect_nothing_lost(at));
    }
  }

  void expect_nothing_lost(unsigned at) {
    for (const auto& [name, content] : reservations()) {
      if (name == litter_ && content.empty()) continue;
      ASSERT_TRUE(content == "live\r\neth0" || content == "old\r\neth0" || content == "new\r\neth0")
          << name << " reads \"" << content << "\", killed at stop " << at;
    }
    // As a runtime or the journal does after a crash.
    ASSERT_EQ(del(place_, "new"), "") << at;
    ASSERT_EQ(del(place_, "old"), "") << at;
    const Tree living = reservations();
    ASSERT_EQ(living.size(), live_ ? 2U : 0U) << at;
    ASSERT_NE(add(place_, "new", sets_), "") << at;
    // Every address can still be had, once.
    for (std::size_t i = living.size() / 2 + 1; i < 5; ++i) {
      const std::string id = base::cat("more", i);
      ASSERT_EQ(add(place_, id, sets_).substr(0, 7), "10.1.0.") << at;
    }
    ASSERT_EQ(reservations().size(), 10U) << at;
    ASSERT_EQ(add(place_, "toomuch", sets_).substr(0, 18), "no address is left") << at;
    for (const auto& [name, content] : living) ASSERT_EQ(reservations()[name], content) << at;
  }

  const std::vector<RangeSet> sets_ = sets_of({"10.1.0.0/29", "fd00::/125"});  // five of one, six of the other
  bool live_ = true;
  Traced whole_;
  std::string litter_;  // an empty file that was there before
};

TEST_F(CrashTest, AnAddIsKilledAnywhere) {
  kill_everywhere([&] { add(place_, "live", sets_); }, [&] { return add(place_, "new", sets_)[0] == '1' ? 0 : 1; });
  EXPECT_EQ(whole_.calls[SYS_linkat], 2U);
}

TEST_F(CrashTest, AnAddWhereNoFileIsWithoutANameIsKilledAnywhere) {
  kill_everywhere([&] { add(place_, "live", sets_); },
                  [&] { return refuse_unnamed_files() && add(place_, "new", sets_)[0] == '1' ? 0 : 1; });
  EXPECT_EQ(whole_.calls[SYS_renameat2], 2U);
}

TEST_F(CrashTest, TheFirstAddOfABootIsKilledAnywhere) {
  live_ = false;
  litter_ = "10.1.0.5";
  kill_everywhere(
      [&] {
        place_.boot = boot_since("boot-1", 1000);
        add(place_, "live", sets_);
        add(place_, "old", sets_);
        std::ofstream(place_.directory() + "/" + litter_);  // what another plugin left when it died
        place_.boot = boot_since("boot-2", ::time(nullptr) + 1000);
      },
      [&] { return add(place_, "new", sets_)[0] == '1' ? 0 : 1; });
}

TEST_F(CrashTest, ADelIsKilledAnywhere) {
  kill_everywhere(
      [&] {
        add(place_, "live", sets_);
        add(place_, "old", sets_);
      },
      [&] { return del(place_, "old") == "" ? 0 : 1; });
}

TEST_F(CrashTest, AGcIsKilledAnywhere) {
  kill_everywhere(
      [&] {
        add(place_, "live", sets_);
        add(place_, "old", sets_);
        add(place_, "new", sets_);
      },
      [&] {
        auto store = Store::open(place_);
        return store && store->keep_only({{"live", "eth0"}}) ? 0 : 1;
      });
}

TEST_F(CrashTest, AnIndexThatGrowsIsKilledAnywhere) {
  // The index of an empty directory has room for four.
  const std::vector<RangeSet> six = sets_of({"10.1.0.0/29"});
  for (unsigned at = 1;; ++at) {
    std::filesystem::remove_all(place_.data_dir);
    std::filesystem::remove_all(place_.run_dir);
    const Traced traced = run_traced(
        [&] {
          for (int i = 0; i < 5; ++i) {
            if (add(place_, base::cat("c", i), six)[0] != '1') return 1;
          }
          return 0;
        },
        at * 7);
    for (int i = 0; i < 5; ++i) ASSERT_EQ(del(place_, base::cat("c", i)), "") << at;
    ASSERT_EQ(reservations(), Tree()) << at;
    if (!traced.killed) {
      EXPECT_EQ(traced.exit_code, 0);
      return;
    }
  }
}

// From now on this process has no memory for a larger index.
bool refuse_shared_memory() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[3])),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_SHARED, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{std::size(program), program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST_F(CrashTest, AnAddWithoutMemoryForItsIndexHoldsNothing) {
  const std::vector<RangeSet> six = sets_of({"10.1.0.0/29"});
  const Traced traced = run_traced([&] {
    auto store = Store::open(place_);
    for (int i = 0; i < 4; ++i) {  // the index of an empty directory has room for four
      if (!store || !store->allocate({base::cat("c", i), "eth0"}, six)) return 1;
    }
    if (!refuse_shared_memory()) return 2;
    const auto fifth = store->allocate({"c4", "eth0"}, six);
    return !fifth && fifth.error().errno_value() == ENOMEM ? 0 : 3;
  });
  EXPECT_EQ(traced.exit_code, 0);
  EXPECT_EQ(reservations().size(), 4U);
  EXPECT_EQ(add(place_, "c4", six), "10.1.0.6/29");
}

// ---- the cost of a call ----

class CostTest : public PlaceTest {
 protected:
  void hold(unsigned count) {
    std::filesystem::create_directories(place_.directory());
    for (; held_ < count; ++held_) {
      const std::string name = to_ip(to_number(ip("10.1.0.2")) + held_).to_string();
      std::ofstream(place_.directory() + "/" + name) << "held" << held_ << "\r\neth0";
    }
    ASSERT_EQ(del(place_, "nobody"), "");  // makes the index
  }
  std::map<std::uint64_t, unsigned> calls_of(const std::function<int()>& work) {
    const Traced traced = run_traced(work);
    EXPECT_EQ(traced.exit_code, 0);
    return traced.calls;
  }

  unsigned held_ = 0;
  const std::vector<RangeSet> sets_ = sets_of({"10.1.0.0/16"});
};

TEST_F(CostTest, EveryVerbMakesTheSameSystemCallsHoweverManyAddressesAreHeld) {
  const std::function<int()> verbs[] = {
      [&] { return add(place_, "new", sets_)[0] == '1' ? 0 : 1; },
      [&] {
        return *Store::open(place_)->holds({"new", "eth0"}) ? 0 : 1;
      },
      [&] { return available(place_, sets_) ? 0 : 1; },
      [&] { return del(place_, "new") == "" ? 0 : 1; },
      [&] { return del(place_, "new") == "" ? 0 : 1; },  // once more, when nothing is held
  };
  hold(10);
  add(place_, "before", sets_);  // from here on last_reserved_ip.0 is there
  del(place_, "before");
  std::vector<std::map<std::uint64_t, unsigned>> few;
  for (const auto& verb : verbs) few.push_back(calls_of(verb));
  unsigned sum = 0;
  for (const auto& [number, count] : few[0]) sum += count;
  EXPECT_LT(sum, 40U);
  for (const unsigned held : {1000U, 60000U, 65500U}) {
    ASSERT_NO_FATAL_FAILURE(hold(held));
    for (std::size_t i = 0; i < few.size(); ++i) EXPECT_EQ(calls_of(verbs[i]), few[i]) << held << " held, verb " << i;
  }
}

}  // namespace
}  // namespace fairlead::ipam
