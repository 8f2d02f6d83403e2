#include "tests/cni/host.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "base/strings.h"
#include "net/netlink_message.h"
#include "net/netns.h"
#include "net/rtnl.h"

namespace fairlead::cnitest {
namespace {

using base::cat;
using Clock = std::chrono::steady_clock;

constexpr int kPatienceMs = 30'000;
constexpr char kOwnNet[] = "/proc/thread-self/ns/net";
constexpr char kOwnMounts[] = "/proc/thread-self/ns/mnt";

Status mount_tmpfs(const char* at) {
  if (::mkdir(at, 0755) != 0 && errno != EEXIST) return Error::from_errno(cat("create ", at), errno);
  if (::mount("tmpfs", at, "tmpfs", 0, "mode=0755") != 0) return Error::from_errno(cat("mount tmpfs at ", at), errno);
  return {};
}

// /var/lib/cni may not exist on this machine: then a tmpfs on /var/lib keeps it from being made there.
Status mount_all() {
  if (::mount("", "/", "", MS_REC | MS_PRIVATE, nullptr) != 0) return Error::from_errno("make / private", errno);
  TRY(mount_tmpfs("/run"));
  TRY(mount_tmpfs("/var/lib"));
  for (const char* folder : {"/run/netns", "/run/etc", "/run/etc/upper", "/run/etc/work"}) {
    if (::mkdir(folder, 0755) != 0) return Error::from_errno(cat("create ", folder), errno);
  }
  constexpr char kLayers[] = "lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work";
  if (::mount("overlay", "/etc", "overlay", 0, kLayers) != 0)
    return Error::from_errno("mount an overlay at /etc", errno);
  return {};
}

Result<base::Fd> open_namespace(const char* path) {
  base::Fd fd(::open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno(path, errno);
  return fd;
}

Status set_loopback_up() {
  net::Rtnl rtnl = TRY(net::Rtnl::open());
  return rtnl.order({net::change_link({.index = 1, .up = true})});
}

Status in_thread(const std::function<Status()>& work) {
  Status status;
  std::thread([&] { status = work(); }).join();
  return status;
}

Result<base::Fd> file_with(const std::string& content) {
  base::Fd fd(::memfd_create("cni", MFD_CLOEXEC));
  if (!fd) return Error::from_errno("memfd_create", errno);
  if (::pwrite(fd.get(), content.data(), content.size(), 0) != static_cast<ssize_t>(content.size()))
    return Error::from_errno("write to a memfd", errno);
  return fd;
}

std::string content_of(const base::Fd& fd) {
  std::string text(static_cast<std::size_t>(std::max<off_t>(::lseek(fd.get(), 0, SEEK_END), 0)), '\0');
  const ssize_t n = ::pread(fd.get(), text.data(), text.size(), 0);
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return text;
}

int exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

}  // namespace

Result<CniHost> CniHost::create() {
  base::Fd mounts, network;
  Status made = in_thread([&]() -> Status {
    if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return Error::from_errno("unshare (needs root)", errno);
    TRY(mount_all());
    TRY(set_loopback_up());
    mounts = TRY(open_namespace(kOwnMounts));
    network = TRY(open_namespace(kOwnNet));
    return {};
  });
  TRY(std::move(made));
  return CniHost(std::move(mounts), std::move(network));
}

Status CniHost::enter() const {
  // CLONE_FS: a thread that shares its working directory with others may not change its mounts.
  if (::unshare(CLONE_FS) != 0 || ::setns(mounts_.get(), CLONE_NEWNS) != 0 ||
      ::setns(network_.get(), CLONE_NEWNET) != 0)
    return Error::from_errno("enter the host", errno);
  return {};
}

std::vector<std::string> CniHost::nsenter() const {
  const std::string descriptors = cat("/proc/", ::getpid(), "/fd/");
  return {"nsenter", cat("--net=", descriptors, network_.get()), cat("--mount=", descriptors, mounts_.get())};
}

Status CniHost::inside(const std::function<Status()>& work) const {
  return in_thread([&]() -> Status {
    TRY(enter());
    return work();
  });
}

Status CniHost::inside(const std::string& container, const std::function<Status()>& work) const {
  return inside([&]() -> Status {
    const net::Netns pod = TRY(net::Netns::open(netns(container)));
    return pod.run(work);
  });
}

Status CniHost::add_container(const std::string& name) {
  return inside([&]() -> Status {
    const std::string path = netns(name);
    const base::Fd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
    if (!file) return Error::from_errno(cat("create ", path), errno);
    if (::unshare(CLONE_NEWNET) != 0) return Error::from_errno("unshare", errno);
    if (::mount(kOwnNet, path.c_str(), "", MS_BIND, nullptr) != 0) return Error::from_errno(cat("bind ", path), errno);
    return {};
  });
}

Status CniHost::remove_container(const std::string& name) {
  return inside([&]() -> Status {
    const std::string path = netns(name);
    if (::umount2(path.c_str(), MNT_DETACH) != 0 || ::unlink(path.c_str()) != 0)
      return Error::from_errno(cat("remove ", path), errno);
    return {};
  });
}

// The child runs in the namespaces before it becomes the program, and dies with this thread.
Result<pid_t> CniHost::start(const Command& command, const base::Fd& out, const base::Fd& err, bool traced) const {
  const base::Fd in = TRY(file_with(command.input));
  std::vector<std::string> arguments = command.argv;
  std::vector<std::string> variables;
  for (const auto& [name, value] : command.environment) variables.push_back(cat(name, "=", value));
  const auto argv = pointers(arguments), environment = pointers(variables);
  const pid_t pid = ::fork();
  if (pid < 0) return Error::from_errno("fork", errno);
  if (pid > 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::dup2(in.get(), STDIN_FILENO);
  ::dup2(out.get(), STDOUT_FILENO);
  ::dup2(err.get(), STDERR_FILENO);
  if (!enter()) ::_exit(126);
  if (traced) ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  ::execve(argv[0], argv.data(), environment.data());
  ::_exit(127);
}

Result<Outcome> CniHost::run(const Command& command) const {
  const base::Fd out = TRY(file_with("")), err = TRY(file_with(""));
  const auto begin = Clock::now();
  const pid_t pid = TRY(start(command, out, err, false));
  const base::Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  const bool late = ::poll(&ended, 1, kPatienceMs) != 1;
  if (late) ::kill(pid, SIGKILL);
  int status = 0;
  ::waitpid(pid, &status, 0);
  const auto took = std::chrono::duration_cast<microseconds>(Clock::now() - begin);
  if (late) return Error(cat(command.argv[0], ": not done after 30 s; stderr: ", content_of(err)), ETIMEDOUT);
  return Outcome{.exit_code = exit_code(status), .out = content_of(out), .err = content_of(err), .took = took};
}

Result<std::string> CniHost::shell(const std::string& script) const {
  const Outcome outcome = TRY(run(
      {.argv = {"/bin/sh", "-ec", script}, .environment = {{"PATH", "/usr/sbin:/usr/bin:/sbin:/bin"}}, .input = ""}));
  if (outcome.exit_code != 0) return Error(cat(script, ": exit ", outcome.exit_code, ": ", outcome.err));
  return outcome.out;
}

Result<std::optional<Outcome>> CniHost::run_until_syscall(const Command& command, unsigned at) const {
  const base::Fd out = TRY(file_with("")), err = TRY(file_with(""));
  const pid_t pid = TRY(start(command, out, err, true));
  const auto ended = [&](int status) { return WIFEXITED(status) || WIFSIGNALED(status); };
  int status = 0;
  ::waitpid(pid, &status, 0);  // execve
  if (ended(status)) return Error(cat(command.argv[0], ": exit ", exit_code(status), " before it was traced"));
  ::ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  // Each system call stops twice: where it is entered and where it returns.
  unsigned stops = 0;
  int signal = 0;
  for (;;) {
    ::ptrace(PTRACE_SYSCALL, pid, nullptr, signal);
    ::waitpid(pid, &status, 0);
    if (ended(status)) break;
    const bool at_syscall = WSTOPSIG(status) == (SIGTRAP | 0x80);
    signal = at_syscall ? 0 : WSTOPSIG(status);
    if (!at_syscall || ++stops != 2 * at - 1) continue;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
    return std::optional<Outcome>(Outcome{exit_code(status), content_of(out), content_of(err)});
  }
  return std::optional<Outcome>();
}

}  // namespace fairlead::cnitest
