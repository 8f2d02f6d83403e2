// The static executable as a runtime runs it: by its names, in a root that holds nothing else, with real namespaces.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/subprocess.h"
#include "cni-plugin/testing.h"
#include "tests/datapath/assert_ok.h"
#include "tests/datapath/namespaces.h"

namespace fairlead::cni {
namespace {

// Mounts and namespaces are the thread's own, and go with it.
Status in_private_mounts(const std::function<Status()>& work) {
  Status status;
  std::thread([&] {
    status =
        ::unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0
            ? work()
            : Status(Error::from_errno("unshare", errno));
  }).join();
  return status;
}

class Executable : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: it makes network namespaces";
  }

  // A root of the executable and /proc alone, and a network namespace at /netns; `work` runs inside.
  Status in_empty_root(const std::function<Status()>& work) {
    return in_private_mounts([&]() -> Status {
      if (::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, nullptr) != 0) return Error::from_errno("tmpfs", errno);
      for (const char* name : {"loopback", "static", "fairlead-cni"})
        std::filesystem::copy_file(FAIRLEAD_BIN_DIR "/fairlead-cni", folder_ / name);
      std::filesystem::create_directory(folder_ / "proc");
      if (::mount("/proc", (folder_ / "proc").c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
        return Error::from_errno("/proc", errno);
      TRY(testbed::NetNamespace::create(folder_ / "netns", {}));
      if (::chroot(folder_.path().c_str()) != 0 || ::chdir("/") != 0) return Error::from_errno("chroot", errno);
      return work();
    });
  }

  static Result<base::ProcessOutput> run(const std::string& name, const Environment& environment,
                                         std::string_view config, const std::vector<std::string>& arguments = {}) {
    std::vector<std::string> argv{name};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    std::vector<std::string> variables{"PATH=/"};
    for (const auto& [key, value] : environment) variables.push_back(base::cat(key, "=", value));
    return base::run_process(argv, config, base::ProcessOptions{.environment = variables});
  }

  testing::Folder folder_;
};

constexpr char kConfig[] = R"({"cniVersion":"1.0.0","name":"lo","type":"loopback"})";
constexpr char kPrevious[] =
    R"({"cniVersion":"1.0.0","name":"lo","type":"loopback","prevResult":{"ips":[{"address":"10.0.0.2/8"}]}})";

TEST_F(Executable, NeedsNothingBesideIt) {
  ASSERT_OK(in_empty_root([]() -> Status {
    const auto version = TRY(run("/loopback", {{"CNI_COMMAND", "VERSION"}}, ""));
    EXPECT_EQ(version.exit_code, 0);
    EXPECT_NE(version.out.find("\"supportedVersions\":[\"0.1.0\""), std::string::npos) << version.out;

    const auto down = TRY(run("/loopback", testing::variables("DEL", "c1", "/netns"), kConfig));
    EXPECT_EQ(down.exit_code, 0) << down.out;
    const auto missed = TRY(run("/loopback", testing::variables("CHECK", "c1", "/netns"), kPrevious));
    EXPECT_EQ(missed.out, "{\"cniVersion\":\"1.0.0\",\"code\":999,\"msg\":\"loopback: lo is down\"}\n");

    const auto up = TRY(run("/loopback", testing::variables("ADD", "c1", "/netns"), kConfig));
    EXPECT_EQ(up.exit_code, 0) << up.out;
    EXPECT_EQ(up.out,
              R"({"cniVersion":"1.0.0","interfaces":[{"name":"lo","mac":"00:00:00:00:00:00","sandbox":"/netns"}],)"
              R"("ips":[{"interface":0,"address":"127.0.0.1/8"},{"interface":0,"address":"::1/128"}],"dns":{}})"
              "\n");
    const auto checked = TRY(run("/loopback", testing::variables("CHECK", "c1", "/netns"), kPrevious));
    EXPECT_EQ(checked.exit_code, 0) << checked.out;
    return {};
  }));
}

TEST_F(Executable, LoopbackPassesOnWhatTheChainHas) {
  ASSERT_OK(in_empty_root([]() -> Status {
    const auto up = TRY(run("/loopback", testing::variables("ADD", "c1", "/netns"), kPrevious));
    EXPECT_EQ(up.out, "{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.0.0.2/8\"}],\"dns\":{}}\n");
    return {};
  }));
}

TEST_F(Executable, LoopbackOfANamespaceThatIsGoneIsDownAlready) {
  ASSERT_OK(in_empty_root([]() -> Status {
    EXPECT_EQ(TRY(run("/loopback", testing::variables("DEL", "c1", "/gone"), kConfig)).exit_code, 0);
    EXPECT_EQ(TRY(run("/loopback", testing::variables("DEL", "c1", ""), kConfig)).exit_code, 0);
    const auto add = TRY(run("/loopback", testing::variables("ADD", "c1", "/gone"), kConfig));
    EXPECT_EQ(add.exit_code, 1);
    EXPECT_EQ(add.out,
              "{\"cniVersion\":\"1.0.0\",\"code\":999,\"msg\":\"loopback: /gone: No such file or directory\"}\n");
    return {};
  }));
}

TEST_F(Executable, UnderItsOwnNameItSweeps) {
  ASSERT_OK(in_empty_root([]() -> Status {
    const auto swept = TRY(run("/fairlead-cni", {}, "", {"sweep"}));
    EXPECT_EQ(swept.exit_code, 0);
    EXPECT_EQ(swept.out, "[]\n");
    const auto released = TRY(run("/fairlead-cni", {}, "", {"release", "/etc/passwd"}));
    EXPECT_EQ(released.exit_code, 1);
    EXPECT_EQ(TRY(run("/fairlead-cni", {}, "", {"what"})).exit_code, 2);
    return {};
  }));
}

TEST_F(Executable, IsSmall) { EXPECT_LE(std::filesystem::file_size(FAIRLEAD_BIN_DIR "/fairlead-cni"), 2'500'000U); }

}  // namespace
}  // namespace fairlead::cni
