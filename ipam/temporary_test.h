// A directory of its own for a test, gone with it.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace fairlead::ipam {

class TemporaryDirectory {
 public:
  // Below `parent`: "/dev/shm" is a tmpfs.
  explicit TemporaryDirectory(const std::string& parent = ::testing::TempDir()) {
    path_ = parent + "/fairlead-ipam-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) std::abort();
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace fairlead::ipam
