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
  const auto names = parse_sweep(R"([{"record": "/r/net/one", "reason": "gone"}, {"record": "/r/net/two"}])");
  ASSERT_TRUE(names);
  EXPECT_EQ(*names, (Names{"/r/net/one", "/r/net/two"}));
  EXPECT_EQ(*parse_sweep("[]"), Names());
  for (const char* wrong : {"", "{}", "[1]", R"([{"record": 1}])"}) EXPECT_FALSE(parse_sweep(wrong)) << wrong;
}

TEST(ParseRelease, TellsWhatWentFromWhatStays) {
  const auto answer = parse_release(R"([{"record": "one", "released": true},
                                        {"record": "two", "released": false, "error": "is alive"}])");
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer, (Released{.records = {"one"}, .errors = {"two: is alive"}}));
}

// Stands in for the binary: what it calls dead is what the file `dead` says; what it releases it takes out of there.
class ASweeper : public ::testing::Test {
 protected:
  ASweeper() {
    std::filesystem::create_directories(dir_);
    const std::string script = base::cat("#!/bin/sh\ncd ", dir_, R"(
case $1 in
sweep) echo >> sweeps; cat dead ;;
release) wc -l < sweeps > at; echo '[{"record": "'$2'", "released": true}]'; echo '[]' > dead ;;
esac
)");
    EXPECT_TRUE(base::write_file_atomically(binary_, script, 0755));
  }
  ~ASweeper() override { std::filesystem::remove_all(dir_); }

  const std::string dir_ = base::cat(std::filesystem::temp_directory_path().string(), "/fairlead-sweeper-", ::getpid());
  const std::string binary_ = dir_ + "/fairlead-cni";
};

TEST_F(ASweeper, HasReleasedWhatItSawDeadTwice) {
  ASSERT_TRUE(base::write_file_atomically(dir_ + "/dead", R"([{"record": "net/gone"}])"));
  std::mutex mutex;
  std::condition_variable changed;
  Names released;
  auto sweeper = CniSweeper::start({.command = {binary_},
                                    .period = std::chrono::milliseconds(10),
                                    .released =
                                        [&](const Released& answer) {
                                          const std::lock_guard lock(mutex);
                                          released = answer.records;
                                          changed.notify_all();
                                        },
                                    .failed = [](const Error& error) { ADD_FAILURE() << error.message(); }});
  ASSERT_TRUE(sweeper);
  std::unique_lock lock(mutex);
  ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return !released.empty(); }));
  EXPECT_EQ(released, Names{"net/gone"});
  const auto sweeps = base::read_file(dir_ + "/at");
  ASSERT_TRUE(sweeps);
  EXPECT_GE(base::parse_number<int>(base::trim(*sweeps)).value_or(0), 2);
}

TEST_F(ASweeper, PassesOnWhatTheBinaryCouldNotJudge) {
  ASSERT_TRUE(
      base::write_file_atomically(binary_, "#!/bin/sh\necho 'made in another namespace' >&2; echo '[]'\n", 0755));
  std::mutex mutex;
  std::condition_variable changed;
  std::string told;
  auto sweeper = CniSweeper::start({.command = {binary_},
                                    .period = std::chrono::milliseconds(10),
                                    .released = [](const Released&) { ADD_FAILURE(); },
                                    .failed =
                                        [&](const Error& error) {
                                          const std::lock_guard lock(mutex);
                                          told = error.message();
                                          changed.notify_all();
                                        }});
  ASSERT_TRUE(sweeper);
  std::unique_lock lock(mutex);
  ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return !told.empty(); }));
  EXPECT_NE(told.find("made in another namespace"), std::string::npos) << told;
}

TEST_F(ASweeper, SaysWhatItCouldNotDoAndGoesOn) {
  std::atomic<int> failures = 0;
  std::mutex mutex;
  std::condition_variable changed;
  auto sweeper = CniSweeper::start({.command = {dir_ + "/not-there"},
                                    .period = std::chrono::milliseconds(10),
                                    .released = [](const Released&) { ADD_FAILURE(); },
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
