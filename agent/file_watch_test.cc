#include "agent/file_watch.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <fstream>

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

class FileWatchTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "fairlead-file-watch-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
    auto loop = base::Loop::create();
    ASSERT_TRUE(loop.has_value());
    loop_ = std::move(*loop);
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::string at(const std::string& name) const { return (dir_ / name).string(); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(at(name)) << text; }
  void watch(const std::string& name) {
    auto opened = FileWatch::open(*loop_, at(name), [this] { ++calls_; });
    ASSERT_TRUE(opened.has_value()) << opened.error().message();
    watch_ = std::move(*opened);
  }
  // Whether word came; every event of the past is worked off by then.
  bool told() {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (calls_ == 0 && std::chrono::steady_clock::now() < deadline) loop_->run_once(10ms);
    return std::exchange(calls_, 0) > 0;
  }

  fs::path dir_;
  std::unique_ptr<base::Loop> loop_;
  std::unique_ptr<FileWatch> watch_;
  int calls_ = 0;
};

TEST_F(FileWatchTest, AWriteIsTold) {
  write("config.conf", "a");
  watch("config.conf");
  write("config.conf", "b");
  EXPECT_TRUE(told());
}

TEST_F(FileWatchTest, AFileMovedIntoItsPlaceIsToldAndSoIsAWriteToThatOne) {
  write("config.conf", "a");
  watch("config.conf");
  write("new", "b");
  fs::rename(at("new"), at("config.conf"));
  EXPECT_TRUE(told());
  write("config.conf", "c");
  EXPECT_TRUE(told());
}

// kubelet's way: config.conf -> ..data/config.conf, ..data -> ..1, and ..data is replaced by a rename.
TEST_F(FileWatchTest, TheSwapOfAConfigMapVolumeIsTold) {
  for (const char* version : {"..1", "..2"}) {
    fs::create_directory(at(version));
    write(std::string(version) + "/config.conf", version);
  }
  fs::create_symlink("..1", at("..data"));
  fs::create_symlink("..data/config.conf", at("config.conf"));
  watch("config.conf");
  fs::create_symlink("..2", at("..data_tmp"));
  fs::rename(at("..data_tmp"), at("..data"));
  EXPECT_TRUE(told());
}

TEST_F(FileWatchTest, AWriteBehindALinkToAnotherFolderIsTold) {
  fs::create_directory(at("elsewhere"));
  write("elsewhere/file", "a");
  fs::create_symlink("elsewhere/file", at("config.conf"));
  watch("config.conf");
  write("elsewhere/file", "b");
  EXPECT_TRUE(told());
}

TEST_F(FileWatchTest, AFileThatComesBackIsTold) {
  write("config.conf", "a");
  watch("config.conf");
  fs::remove(at("config.conf"));
  write("config.conf", "b");
  EXPECT_TRUE(told());
}

TEST_F(FileWatchTest, NeighboursAreNoNews) {
  write("config.conf", "a");
  watch("config.conf");
  write("other.conf", "b");
  bool over = false;
  const auto later = loop_->after(50ms, [&] { over = true; });  // due after a look would have been
  while (!over) loop_->run_once(10ms);
  EXPECT_EQ(calls_, 0);
}

TEST_F(FileWatchTest, AFolderThatIsNotThereIsAnError) {
  const auto opened = FileWatch::open(*loop_, at("none/config.conf"), [] {});
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().message(), at("none") + ": No such file or directory");
}

}  // namespace
}  // namespace fairlead::agent
