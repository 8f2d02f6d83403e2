// The static executable as a runtime runs it: by its names, in a root that holds nothing else, with real namespaces.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "base/subprocess.h"
#include "cni-plugin/journal.h"
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

// A process with a /run and a network of its own, as a host is to an agent in a container.
class OtherHost {
 public:
  explicit OtherHost(const std::string& record) {
    int ready[2];
    if (::pipe2(ready, O_CLOEXEC) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const bool made = ::unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 &&
                        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                        ::mount("tmpfs", "/run", "tmpfs", 0, nullptr) == 0 &&
                        std::filesystem::create_directories("/run/fairlead/cni/records/net") &&
                        base::write_file_atomically("/run/fairlead/cni/records/net/it", record).has_value();
      if (::write(ready[1], made ? "y" : "n", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    char answer = 'n';
    made_ = ::read(ready[0], &answer, 1) == 1 && answer == 'y';
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~OtherHost() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  OtherHost(const OtherHost&) = delete;
  OtherHost& operator=(const OtherHost&) = delete;
  bool made() const { return made_; }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  bool made_ = false;
};

TEST_F(Executable, SweepsAnotherHostThroughItsNamespaces) {
  Record dead;
  dead.boot_id = "earlier";
  dead.plugin = "loopback";
  dead.network = "net";
  dead.environment = {{"CNI_CONTAINERID", "c1"}, {"CNI_IFNAME", "eth0"}};
  dead.stdin_text = R"({"cniVersion":"1.1.0","name":"net"})";
  const OtherHost host(to_json(dead));
  ASSERT_TRUE(host.made());
  const std::string there = base::cat("--namespaces-of=", host.pid());
  const std::string program = FAIRLEAD_BIN_DIR "/fairlead-cni";
  const auto swept = run(program, {}, "", {there, "sweep"});
  ASSERT_OK(swept);
  EXPECT_NE(swept->out.find("\"record\":\"/run/fairlead/cni/records/net/it\""), std::string::npos)
      << swept->out << swept->err;
  const auto released = run(program, {}, "", {there, "release", "/run/fairlead/cni/records/net/it"});
  ASSERT_OK(released);
  EXPECT_EQ(released->exit_code, 0) << released->out;
  EXPECT_EQ(run(program, {}, "", {there, "sweep"})->out, "[]\n");
}

// Whoever sweeps with too few descriptors or capabilities learns nothing of the living, and takes nothing from them.
TEST_F(Executable, SweepsNobodyWhoseNamespaceItCannotEnter) {
  ASSERT_OK(in_private_mounts([&]() -> Status {
    if (::mount("tmpfs", "/run", "tmpfs", 0, nullptr) != 0) return Error::from_errno("tmpfs", errno);
    const std::string netns = folder_ / "netns";
    TRY(testbed::NetNamespace::create(netns, {}));
    const std::string program = FAIRLEAD_BIN_DIR "/fairlead-cni", plugin = folder_ / "host-local";
    std::filesystem::create_symlink(program, plugin);
    const auto added = TRY(run(plugin, testing::variables("ADD", "c1", netns),
                               base::cat(R"({"cniVersion":"1.0.0","name":"net","ipam":{"subnet":"10.1.0.0/24",)",
                                         R"("dataDir":")", folder_ / "networks", "\"}}")));
    EXPECT_EQ(added.exit_code, 0) << added.out;
    const std::string path = record_path(World{}, "host-local", {"net", "c1", "eth0"});
    const auto told = [&](const base::ProcessOutput& swept, const std::string& why) {
      EXPECT_EQ(swept.out, "[]\n");
      EXPECT_EQ(swept.err.rfind(path + ": cannot be judged: ", 0), 0U) << swept.err;
      EXPECT_NE(swept.err.find(why), std::string::npos) << swept.err;
    };
    EXPECT_EQ(TRY(run(program, {}, "", {"sweep"})).err, "");
    told(TRY(run("/bin/sh", {}, "", {"-c", base::cat("ulimit -n 4; exec ", program, " sweep")})),
         "No file descriptors available");
    // Of this thread and what it starts, and it ends here.
    if (::prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) != 0) return Error::from_errno("drop CAP_SYS_ADMIN", errno);
    told(TRY(run(program, {}, "", {"sweep"})), "Operation not permitted");
    const auto released = TRY(run(program, {}, "", {"release", path}));
    EXPECT_EQ(released.exit_code, 1) << released.out;
    return {};
  }));
}

TEST_F(Executable, IsSmall) { EXPECT_LE(std::filesystem::file_size(FAIRLEAD_BIN_DIR "/fairlead-cni"), 2'500'000U); }

}  // namespace
}  // namespace fairlead::cni
