#include "agent/cni_sweeper.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "base/file.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

using Names = std::vector<std::string>;

TEST(DeadTwice, NamesWhatWasDeadAtTheLastLookToo) {
  DeadTwice dead;
  EXPECT_EQ(dead.see({"a", "b"}), Names());
  EXPECT_EQ(dead.see({"b", "c"}), Names{"b"});
  EXPECT_EQ(dead.see({}), Names());
  EXPECT_EQ(dead.see({"c"}), Names()) << "it lived in between";
}

TEST(ParseSweep, ReadsTheNamesAndRefusesEverythingElse) {
  const auto names = parse_sweep(R"({"dead": ["net/one", "net/two"]})");
  ASSERT_TRUE(names);
  EXPECT_EQ(*names, (Names{"net/one", "net/two"}));
  EXPECT_FALSE(parse_sweep(""));
  EXPECT_FALSE(parse_sweep("{}"));
  EXPECT_FALSE(parse_sweep(R"({"dead": [1]})"));
}

// Stands in for the binary: what it calls dead is what the file `dead` says; what it releases it takes out of there.
class ASweeper : public ::testing::Test {
 protected:
  ASweeper() {
    std::filesystem::create_directories(dir_);
    const std::string script = base::cat("#!/bin/sh\ncd ", dir_,
                                         "\n"
                                         "case $1 in\n"
                                         "sweep) cat dead ;;\n"
                                         "release) shift; echo \"$@\" >> released; echo '{\"dead\": []}' > dead ;;\n"
                                         "esac\n");
    EXPECT_TRUE(base::write_file_atomically(binary_, script, 0755));
  }
  ~ASweeper() override { std::filesystem::remove_all(dir_); }

  const std::string dir_ = base::cat(std::filesystem::temp_directory_path().string(), "/fairlead-sweeper-", ::getpid());
  const std::string binary_ = dir_ + "/fairlead-cni";
};

TEST_F(ASweeper, HasReleasedWhatItSawDeadTwice) {
  ASSERT_TRUE(base::write_file_atomically(dir_ + "/dead", R"({"dead": ["net/gone"]})"));
  std::mutex mutex;
  std::condition_variable changed;
  Names released;
  auto sweeper = CniSweeper::start({.binary = binary_,
                                    .period = std::chrono::milliseconds(10),
                                    .released =
                                        [&](const Names& names) {
                                          const std::lock_guard lock(mutex);
                                          released = names;
                                          changed.notify_all();
                                        },
                                    .failed = [](const Error& error) { ADD_FAILURE() << error.message(); }});
  ASSERT_TRUE(sweeper);
  std::unique_lock lock(mutex);
  ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return !released.empty(); }));
  EXPECT_EQ(released, Names{"net/gone"});
}

TEST_F(ASweeper, SaysWhatItCouldNotDoAndGoesOn) {
  std::atomic<int> failures = 0;
  std::mutex mutex;
  std::condition_variable changed;
  auto sweeper = CniSweeper::start({.binary = dir_ + "/not-there",
                                    .period = std::chrono::milliseconds(10),
                                    .released = [](const Names&) { ADD_FAILURE(); },
                                    .failed =
                                        [&](const Error&) {
                                          ++failures;
                                          changed.notify_all();
                                        }});
  ASSERT_TRUE(sweeper);
  std::unique_lock lock(mutex);
  EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return failures >= 2; }));
}

}  // namespace
}  // namespace fairlead::agent
