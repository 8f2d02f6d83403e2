#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <random>

#include "base/strings.h"
#include "ipam/store_fixture_test.h"

namespace fairlead::ipam {
namespace {

class StoreTest : public PlaceTest {
 protected:
  // "10.1.0.2/24 10.1.0.1", or the error's text.
  std::string add(const std::string& id, const std::vector<RangeSet>& sets, const std::vector<net::Ip>& wanted = {},
                  int* errno_value = nullptr) {
    auto store = Store::open(place_);
    if (!store) return store.error().message();
    const auto leases = store->allocate({id, "eth0"}, sets, wanted);
    if (!leases) {
      if (errno_value != nullptr) *errno_value = leases.error().errno_value();
      return leases.error().message();
    }
    std::vector<std::string> parts;
    for (const Lease& lease : *leases) parts.push_back(lease.address.to_string());
    return base::join(parts, " ");
  }
  std::string del(const std::string& id, const std::string& ifname = "eth0") {
    auto store = Store::open_existing(place_);
    if (!store) return store.error().message();
    if (!*store) return "no directory";
    const Status status = (*store)->release({id, ifname});
    return status ? "" : status.error().message();
  }
  bool holds(const std::string& id) {
    auto store = Store::open(place_);
    return store && *store->holds({id, "eth0"});
  }

  std::string file(const std::string& name) const { return base::cat(place_.directory(), "/", name); }
  void write(const std::string& name, const std::string& content, std::int64_t written = 0) {
    std::filesystem::create_directories(place_.directory());
    std::ofstream(file(name), std::ios::binary) << content;
    if (written == 0) return;
    const timespec times[2] = {{written, 0}, {written, 0}};
    ::utimensat(AT_FDCWD, file(name).c_str(), times, 0);
  }
  std::string read(const std::string& name) const {
    std::ifstream in(file(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string index_file() const {
    std::error_code none;
    const std::filesystem::directory_iterator first(place_.run_dir + "/host-local", none);
    return first == std::filesystem::directory_iterator() ? "" : first->path();
  }

  const std::vector<RangeSet> small_ = sets_of({"10.1.0.0/29"});  // five addresses
  const std::vector<RangeSet> both_ = sets_of({"10.1.0.0/24", "fd00::/64"});
};

// ---- the files ----

TEST_F(StoreTest, WritesWhatTheReferenceWrites) {
  EXPECT_EQ(add("c1", both_), "10.1.0.2/24 fd00::2/64");
  EXPECT_EQ(reservations(), (Tree{{"10.1.0.2", "c1\r\neth0"}, {"fd00::2", "c1\r\neth0"}}));
  EXPECT_EQ(read("last_reserved_ip.0"), "10.1.0.2");
  EXPECT_EQ(read("last_reserved_ip.1"), "fd00::2");
  struct stat status {};
  ASSERT_EQ(::stat(file("10.1.0.2").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
  EXPECT_EQ(status.st_nlink, 1U);
  EXPECT_TRUE(std::filesystem::exists(file("lock")));
}

TEST_F(StoreTest, AnAddressRestsUntilAllOthersHadTheirTurn) {
  EXPECT_EQ(add("a", small_), "10.1.0.2/29");
  EXPECT_EQ(del("a"), "");
  EXPECT_EQ(add("b", small_), "10.1.0.3/29");
  for (const std::string id : {"c", "d", "e"}) add(id, small_);
  EXPECT_EQ(add("f", small_), "10.1.0.2/29");
  EXPECT_EQ(del("d"), "");
  EXPECT_EQ(add("g", small_), "10.1.0.5/29") << "the only one left";
}

TEST_F(StoreTest, ALastThatIsNoAddressBeginsAtTheStart) {
  for (const std::string& bad :
       {std::string(), std::string("10.9.0.1"), std::string("10.1.0.902"), std::string(9999, 'x')}) {
    add("a", small_);
    write("last_reserved_ip.0", bad);
    del("a");
    EXPECT_EQ(add("a", small_), "10.1.0.2/29");
    EXPECT_EQ(read("last_reserved_ip.0"), "10.1.0.2");
    EXPECT_EQ(del("a"), "");
  }
}

TEST_F(StoreTest, OldFilesWithTheIdAloneAreHeldAndGivenBack) {
  write("10.1.0.2", "old");
  EXPECT_EQ(add("a", small_), "10.1.0.3/29");
  EXPECT_TRUE(holds("old"));
  EXPECT_EQ(del("old"), "");
  EXPECT_EQ(reservations(), (Tree{{"10.1.0.3", "a\r\neth0"}}));
}

TEST_F(StoreTest, AnInterfacesOwnFilesComeBeforeTheOldForm) {
  write("10.1.0.2", "c");
  write("10.1.0.3", "c\r\neth0");
  EXPECT_EQ(del("c"), "");
  EXPECT_EQ(reservations(), (Tree{{"10.1.0.2", "c"}}));
  EXPECT_EQ(del("c", "net1"), "");
  EXPECT_EQ(reservations(), Tree{});
}

TEST_F(StoreTest, InterfacesOfOneContainerAreApart) {
  auto store = Store::open(place_);
  ASSERT_TRUE(store->allocate({"c", "eth0"}, small_));
  ASSERT_TRUE(store->allocate({"c", "net1"}, small_));
  ASSERT_TRUE(store->release({"c", "eth0"}));
  EXPECT_FALSE(*store->holds({"c", "eth0"}));
  EXPECT_TRUE(*store->holds({"c", "net1"}));
}

TEST_F(StoreTest, TheLongestIdsAreKept) {
  const std::string id(253, 'x');
  EXPECT_EQ(add(id, small_), "10.1.0.2/29");
  EXPECT_TRUE(holds(id));
  EXPECT_EQ(del(id), "");
  EXPECT_EQ(reservations(), Tree{});
}

TEST_F(StoreTest, OtherFilesAreLeftAlone) {
  write("README", "hello");
  write("010.1.0.2", "x");
  write("10.1.0.3.bak", "x");
  write("FD00::2", "x");
  EXPECT_EQ(add("a", both_), "10.1.0.2/24 fd00::2/64");
  auto store = Store::open(place_);
  ASSERT_TRUE(store->keep_only({}));
  for (const std::string name : {"README", "010.1.0.2", "10.1.0.3.bak", "FD00::2"}) EXPECT_NE(read(name), "") << name;
}

TEST_F(StoreTest, WhatIsNoReservationAndBearsAnAddressHoldsIt) {
  std::filesystem::create_directories(file("10.1.0.2"));
  ASSERT_EQ(::mkfifo(file("10.1.0.3").c_str(), 0600), 0);
  ASSERT_EQ(::symlink("/nowhere", file("10.1.0.4").c_str()), 0);
  write("10.1.0.5", std::string(100000, 'z'));
  EXPECT_EQ(add("a", small_), "10.1.0.6/29");
  EXPECT_EQ(del("a"), "");
  EXPECT_EQ(reservations().size(), 4U);
}

// ---- what ADD refuses ----

TEST_F(StoreTest, AContainerHasOneAddressOfASet) {
  add("a", small_);
  int why = 0;
  EXPECT_EQ(add("a", small_, {}, &why),
            "10.1.0.2 has been allocated to a (eth0) already; DEL comes before another ADD");
  EXPECT_EQ(why, EEXIST);
  EXPECT_EQ(add("a", sets_of({"10.2.0.0/24"})), "10.2.0.2/24") << "the configuration has changed";
}

TEST_F(StoreTest, ExhaustionIsToldWithNumbersAndKeepsNothing) {
  for (const std::string id : {"a", "b", "c", "d", "e"}) add(id, small_);
  const auto before = reservations();
  int why = 0;
  auto sets = sets_of({"10.2.0.0/24", "10.1.0.0/29"});
  EXPECT_EQ(add("f", sets, {}, &why), base::cat("no address is left in range set 1 (10.1.0.1-10.1.0.6): 5 of its 5 "
                                                "addresses are held in ",
                                                place_.directory()));
  EXPECT_EQ(why, EADDRNOTAVAIL);
  EXPECT_EQ(reservations(), before);
}

TEST_F(StoreTest, AWantedAddressIsGivenOrRefused) {
  EXPECT_EQ(add("a", both_, {ip("fd00::77"), ip("10.1.0.9")}), "10.1.0.9/24 fd00::77/64");
  EXPECT_EQ(add("b", both_), "10.1.0.10/24 fd00::78/64") << "it is the last one too";
  const auto before = reservations();
  int why = 0;
  EXPECT_EQ(add("c", both_, {ip("fd00::77")}, &why),
            base::cat("the wanted address fd00::77 is held by another (", place_.directory(), ")"));
  EXPECT_EQ(why, EADDRINUSE);
  EXPECT_EQ(add("c", both_, {ip("10.1.0.1")}, &why), "the wanted address 10.1.0.1 is the gateway of its subnet");
  EXPECT_EQ(why, EINVAL);
  EXPECT_EQ(add("c", both_, {ip("10.9.0.1")}, &why),
            "the wanted address 10.9.0.1 lies in no range set, or in one of which another address was wanted too");
  EXPECT_EQ(why, EINVAL);
  EXPECT_EQ(add("c", both_, {ip("10.1.0.20"), ip("10.1.0.21")}, &why),
            "the wanted address 10.1.0.21 lies in no range set, or in one of which another address was wanted too");
  EXPECT_EQ(reservations(), before);
}

// ---- DEL, CHECK, GC ----

TEST_F(StoreTest, GivingBackWhatNobodyHoldsIsNoError) {
  EXPECT_EQ(del("a"), "no directory");
  add("b", small_);
  EXPECT_EQ(del("a"), "");
  EXPECT_EQ(del("b"), "");
  EXPECT_EQ(del("b"), "");
}

TEST_F(StoreTest, KeepsOnlyWhatTheLivingHold) {
  add("a", small_);
  add("b", small_);
  write("10.1.0.4", "old");
  write("10.1.0.5", "gone");
  write("10.1.0.6", "");
  auto store = Store::open(place_);
  ASSERT_TRUE(store->keep_only({{"a", "eth0"}, {"b", "net1"}, {"old", "eth0"}}));
  EXPECT_EQ(reservations(), (Tree{{"10.1.0.2", "a\r\neth0"}, {"10.1.0.4", "old"}}));
  EXPECT_TRUE(*store->holds({"a", "eth0"}));
  EXPECT_FALSE(*store->holds({"b", "eth0"}));
}

// ---- what was left behind ----

TEST_F(StoreTest, ADeadWritersEmptyFileIsTakenAway) {
  for (const std::string name : {"10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"}) write(name, "");
  EXPECT_EQ(add("a", small_), "10.1.0.2/29");
  EXPECT_EQ(reservations(), (Tree{{"10.1.0.2", "a\r\neth0"}}));
}

TEST_F(StoreTest, WhatWasWrittenBeforeTheBootIsGone) {
  write("10.1.0.2", "a\r\neth0", 999);
  write("10.1.0.3", "b\r\neth0", 1000);
  EXPECT_EQ(add("c", small_), "10.1.0.2/29");
  EXPECT_EQ(reservations(), (Tree{{"10.1.0.2", "c\r\neth0"}, {"10.1.0.3", "b\r\neth0"}}));
  EXPECT_EQ(read(".fairlead-boot"), "boot boot-1\n");
}

TEST_F(StoreTest, ADirectoryIsJudgedOnceInABoot) {
  add("a", small_);
  write("10.1.0.3", "b\r\neth0", 5);  // the clock was set since
  EXPECT_EQ(add("c", small_), "10.1.0.4/29");
  EXPECT_EQ(reservations().size(), 3U);
  place_.boot = boot_since("boot-2", ::time(nullptr) + 10);
  EXPECT_EQ(add("c", small_), "10.1.0.5/29");
  EXPECT_EQ(reservations(), (Tree{{"10.1.0.5", "c\r\neth0"}}));
}

// A minute after the machine began with a clock of 1970, which has been set to 2'000'000'000 since.
constexpr std::int64_t kNow = 2'000'000'000;

TEST(Boot, CanHaveWrittenByTheClockItBeganWithAndByTheOneItHas) {
  const Boot boot = boot_of("id", kNow, 60, 5);
  EXPECT_EQ(boot, (Boot{"id", {kNow - 61, kNow + 1}, {5, 66}}));
  for (const std::int64_t time : {std::int64_t{5}, std::int64_t{66}, kNow - 61, kNow + 1})
    EXPECT_TRUE(boot.can_have_written(time)) << time;
  for (const std::int64_t time : {std::int64_t{4}, std::int64_t{67}, kNow - 62, kNow + 2})
    EXPECT_FALSE(boot.can_have_written(time)) << time;
  EXPECT_TRUE(boot.begins_after(4));
  EXPECT_FALSE(boot.begins_after(kNow - 62)) << "by its first clock it is a time to come";
  EXPECT_EQ(boot_of("id", kNow, 60, std::nullopt), (Boot{"id", {kNow - 61, kNow + 1}}));
}

TEST(Boot, OfThisMachineHasWrittenWhatIsWrittenNow) {
  const Boot boot = this_boot("id");
  EXPECT_TRUE(boot.can_have_written(::time(nullptr)));
  EXPECT_FALSE(boot.now.contains(0));
}

TEST_F(StoreTest, OnAMachineWithoutAClockTheRebootFreesWhatEarlierBootsHeldAndNothingElse) {
  add("a", both_);  // leaves the mark of another boot
  del("a");
  write("10.1.0.11", "earlier\r\neth0", kNow - 1000);
  write("10.1.0.12", "later\r\neth0", kNow + 1000);  // the earlier boot's clock was wrong
  write("10.1.0.13", "first\r\neth0", 30);
  write("10.1.0.14", "now\r\neth0", kNow - 20);
  place_.boot = boot_of("boot-2", kNow, 60, 5);
  EXPECT_EQ(del("nobody"), "");
  EXPECT_EQ(reservations(), (Tree{{"10.1.0.13", "first\r\neth0"}, {"10.1.0.14", "now\r\neth0"}}));
}

TEST_F(StoreTest, WhereWeNeverWroteATimeBetweenTwoClocksIsKept) {
  // The clock was set twice, and another plugin wrote in between.
  write("10.1.0.11", "live\r\neth0", kNow - 1000);
  write("10.1.0.12", "dead\r\neth0", 4);
  place_.boot = boot_of("boot-2", kNow, 60, 5);
  EXPECT_EQ(del("nobody"), "");
  EXPECT_EQ(reservations(), (Tree{{"10.1.0.11", "live\r\neth0"}}));
}

TEST_F(StoreTest, WithoutABootIdNothingIsDead) {
  place_.boot = boot_since("", 1000);
  write("10.1.0.2", "a\r\neth0", 5);
  EXPECT_EQ(add("c", small_), "10.1.0.3/29");
  EXPECT_FALSE(std::filesystem::exists(file(".fairlead-boot")));
}

// ---- the index is a copy ----

TEST_F(StoreTest, AnotherPluginsChangesAreSeenWithinTheSameClockTick) {
  for (int round = 0; round < 200; ++round) {
    ASSERT_EQ(add("a", both_).substr(0, 7), "10.1.0.");
    // As another plugin takes one and gives another back, faster than the clock of the file system runs.
    const std::string next = base::cat("10.1.0.", 3 + round);
    write("10.1.0.254", "x\r\neth0");
    EXPECT_TRUE(holds("x")) << round;
    ::unlink(file("10.1.0.254").c_str());
    write(base::cat("10.2.0.", round), "y\r\neth0");
    EXPECT_FALSE(holds("x")) << round;
    ASSERT_EQ(del("a"), "");
    EXPECT_FALSE(holds("a"));
  }
  EXPECT_EQ(reservations().size(), 200U);
}

TEST_F(StoreTest, AnIndexThatIsLostOrDamagedCostsTimeOnly) {
  std::mt19937 random(3);
  const std::vector<RangeSet> sets = sets_of({"10.1.0.0/26"});  // 61 addresses
  std::map<std::string, std::string> model;
  for (int step = 0; step < 1500; ++step) {
    if (step % 3 == 0 && !index_file().empty()) {
      const std::string path = index_file();
      std::fstream index(path, std::ios::binary | std::ios::in | std::ios::out);
      index.seekp(random() % static_cast<unsigned>(std::filesystem::file_size(path)));
      std::string noise(random() % 200, '\0');
      for (char& c : noise) c = static_cast<char>(random());
      index << noise;
      index.close();
      if (step % 5 == 0) std::filesystem::remove(path);
      if (step % 7 == 0 && std::filesystem::exists(path)) std::filesystem::resize_file(path, random() % 5000);
    }
    const std::string id = base::cat("c", random() % 80);
    if (model.count(id) != 0) {
      ASSERT_EQ(del(id), "") << step;
      model.erase(id);
    } else if (model.size() < 61) {
      const std::string address = add(id, sets);
      ASSERT_EQ(address.substr(0, 7), "10.1.0.") << address << " at " << step;
      model[id] = address.substr(0, address.find('/'));
    } else {
      ASSERT_EQ(add(id, sets).substr(0, 18), "no address is left") << step;
    }
    std::map<std::string, std::string> expected;
    for (const auto& [holder, address] : model) expected[address] = holder + "\r\neth0";
    ASSERT_EQ(reservations(), expected) << step;
  }
}

TEST_F(StoreTest, TwoRunDirectoriesOfOneStateDirectoryAgree) {
  const std::string first = place_.run_dir, second = temporary_.path() + "/run2";
  for (int i = 0; i < 100; ++i) {
    place_.run_dir = i % 2 == 0 ? first : second;
    ASSERT_EQ(add(base::cat("c", i), both_).substr(0, 7), "10.1.0.");
    if (i > 2) {
      ASSERT_EQ(del(base::cat("c", i - 1)), "");
      ASSERT_FALSE(holds(base::cat("c", i - 1)));
    }
  }
}

TEST_F(StoreTest, ADirectoryThatWasTakenAwayIsMadeAgain) {
  add("a", small_);
  std::filesystem::remove_all(place_.data_dir);
  EXPECT_EQ(add("b", small_), "10.1.0.2/29");
  std::filesystem::remove(file("lock"));
  EXPECT_EQ(add("c", small_), "10.1.0.3/29");
}

TEST_F(StoreTest, ProcessesAtOnceNeverShareAnAddress) {
  const std::vector<RangeSet> sets = sets_of({"10.1.0.0/24"});
  std::vector<pid_t> children;
  for (int p = 0; p < 8; ++p) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      for (int i = 0; i < 60; ++i) {
        const std::string id = base::cat("p", p, "-", i);
        if (add(id, sets).substr(0, 7) != "10.1.0.") ::_exit(1);
        if (i % 2 == 0 && del(id) != "") ::_exit(2);
      }
      ::_exit(0);
    }
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(reservations().size(), 240U);
  for (int p = 0; p < 8; ++p) {
    for (int i = 1; i < 60; i += 2) EXPECT_TRUE(holds(base::cat("p", p, "-", i)));
  }
}

// ---- STATUS ----

TEST_F(StoreTest, IsAvailableBeforeTheFirstAddAndUntilTheLastAddressIsGone) {
  EXPECT_TRUE(available(place_, small_));
  EXPECT_FALSE(std::filesystem::exists(place_.data_dir)) << "it writes nothing";
  for (const std::string id : {"a", "b", "c", "d", "e"}) {
    EXPECT_TRUE(available(place_, small_));
    add(id, small_);
  }
  const Status full = available(place_, small_);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().message(), base::cat("no address is left in range set 0 (10.1.0.1-10.1.0.6): 5 of its 5 "
                                              "addresses are held in ",
                                              place_.directory()));
  EXPECT_EQ(full.error().errno_value(), EADDRNOTAVAIL);
  ::unlink(file("10.1.0.4").c_str());  // another plugin gives one back
  EXPECT_TRUE(available(place_, small_));
  write("10.1.0.4", "x\r\neth0");
  EXPECT_FALSE(available(place_, small_));
  place_.boot = boot_since("boot-2", ::time(nullptr) + 10);
  EXPECT_TRUE(available(place_, small_)) << "after a boot none of them lives";
}

TEST_F(StoreTest, AStatusDoesNotWaitForTheLock) {
  auto store = Store::open(place_);
  ASSERT_TRUE(store);
  EXPECT_TRUE(available(place_, small_));
}

TEST_F(StoreTest, APlaceThatIsNoDirectoryIsToldByEveryVerb) {
  std::ofstream(place_.data_dir) << "a file";
  const std::string text = base::cat(place_.directory(), ": Not a directory");
  EXPECT_EQ(add("a", small_), text);
  EXPECT_EQ(del("a"), text);
  const Status status = available(place_, small_);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message(), text);
}

}  // namespace
}  // namespace fairlead::ipam
