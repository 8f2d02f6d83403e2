#include "tests/runtimes/machine.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "base/fd.h"
#include "base/file.h"
#include "base/strings.h"
#include "tests/datapath/process.h"
#include "tests/datapath/remains.h"

namespace fairlead::tests::runtimes {
namespace {

using base::cat;

constexpr char kRealEtc[] = "/run/etc";
constexpr char kCgroups[] = "/sys/fs/cgroup";

Status mount_at(const char* type, const std::string& target) {
  if (::mount(type, target.c_str(), type, 0, nullptr) != 0)
    return Error::from_errno(cat("mount ", type, " on ", target), errno);
  return {};
}

Status join_cgroup(const std::string& directory) {
  if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST)
    return Error::from_errno(cat("mkdir ", directory), errno);
  const base::Fd members(::open(cat(directory, "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  if (!members || ::write(members.get(), "0", 1) != 1) return Error::from_errno(cat("join ", directory), errno);
  return {};
}

// A writable /etc that shows the real one but for its cni folder.
Status cover_etc() {
  TRY(base::make_directories(kRealEtc));
  if (::mount("/etc", kRealEtc, nullptr, MS_BIND, nullptr) != 0) return Error::from_errno("bind /etc", errno);
  TRY(mount_at("tmpfs", "/etc"));
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(kRealEtc, failed)) {
    const std::string name = entry.path().filename();
    if (name != "cni") std::filesystem::create_symlink(entry.path(), cat("/etc/", name), failed);
    if (failed) return Error(cat("link /etc/", name, ": ", failed.message()));
  }
  return base::make_directories("/etc/cni/net.d");
}

Status furnish(const std::string& cgroup) {
  // Before the cgroup namespace, whose root it becomes.
  TRY(join_cgroup(cgroup));
  if (::unshare(CLONE_NEWCGROUP) != 0) return Error::from_errno("unshare(CLONE_NEWCGROUP)", errno);
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return Error::from_errno("mount --make-rprivate", errno);
  TRY(mount_at("proc", "/proc"));
  TRY(mount_at("sysfs", "/sys"));  // of the new network namespace; without the cgroups mounted below the old one
  TRY(mount_at("cgroup2", kCgroups));
  // cgroup-v2.rst "No Internal Process Constraint": the tree's root must be free for controllers to be handed down.
  TRY(join_cgroup(cat(kCgroups, "/self")));
  for (const char* target : {"/run", "/var/lib", "/opt"}) TRY(mount_at("tmpfs", target));
  TRY(base::make_directories("/run/netns"));
  return cover_etc();
}

int exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

// Reaps until `main_child` has ended.
int reap_until(pid_t main_child) {
  for (;;) {
    int status = 0;
    const pid_t pid = ::wait(&status);
    if (pid == main_child) return exit_code(status);
    if (pid < 0 && errno != EINTR) return 1;
  }
}

void die_with_parent() { ::prctl(PR_SET_PDEATHSIG, SIGKILL); }

[[noreturn]] void init_process(const std::string& cgroup, const std::function<int()>& work) {
  die_with_parent();
  if (const Status furnished = furnish(cgroup); !furnished) {
    std::fprintf(stderr, "machine: %s\n", furnished.error().message().c_str());
    ::_exit(1);
  }
  const pid_t worker = ::fork();
  if (worker != 0) ::_exit(worker < 0 ? 1 : reap_until(worker));
  const int code = work();
  std::fflush(nullptr);
  ::_exit(code);
}

// The process between the caller and pid 1: unshare(CLONE_NEWPID) works on children only.
[[noreturn]] void gate_process(const std::string& cgroup, const std::function<int()>& work) {
  die_with_parent();
  if (::unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS) != 0) {
    std::perror("machine: unshare");
    ::_exit(1);
  }
  const pid_t init = ::fork();
  if (init == 0) init_process(cgroup, work);
  ::_exit(init < 0 ? 1 : reap_until(init));
}

}  // namespace

Result<int> run_in_machine(const std::function<int()>& work) {
  TRY_CONTEXT(testbed::sweep(), "sweep leftovers");
  const std::string cgroups = TRY(testbed::cgroup2_root());
  const std::string prefix = TRY(testbed::claim_prefix());
  auto reaper =
      TRY(testbed::Process::start({.argv = {testbed::program_path("fairlead-probe"), "reap", "--prefix", prefix},
                                   .netns = {},
                                   .cgroup = {},
                                   .log = {},
                                   .pipes = testbed::Pipes::InOut}));
  const pid_t gate = ::fork();
  if (gate < 0) return Error::from_errno("fork", errno);
  if (gate == 0) gate_process(cat(cgroups, "/", prefix), work);
  int status = 0;
  while (::waitpid(gate, &status, 0) < 0 && errno == EINTR) {
  }
  reaper.close_input();  // it removes what `prefix` names
  TRY(reaper.wait(std::chrono::seconds(20)));
  return exit_code(status);
}

}  // namespace fairlead::tests::runtimes
