#include "tests/datapath/remains.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <set>

#include "base/fd.h"
#include "base/file.h"
#include "base/strings.h"

namespace fairlead::testbed {
namespace {

using base::cat;

// Field 22 of /proc/<pid>/stat, counted after the last ')' because the command name may hold anything (man 5 proc).
std::string start_time(pid_t pid) {
  auto stat = base::read_file(cat("/proc/", pid, "/stat"));
  if (!stat) return "";
  const std::string tail = stat->substr(stat->rfind(')') + 1);
  const std::vector<std::string_view> fields = base::split(base::trim(tail), ' ');
  return fields.size() > 19 ? std::string(fields[19]) : "";
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error))
    names.push_back(entry.path().filename());
  return names;
}

// The pid in "fl-<pid>-<n>".
std::optional<pid_t> pid_of(std::string_view prefix) {
  if (prefix.substr(0, kPrefixStem.size()) != kPrefixStem) return std::nullopt;
  const auto parts = base::split(prefix.substr(kPrefixStem.size()), '-');
  if (parts.size() != 2) return std::nullopt;
  return base::parse_number<pid_t>(parts[0]);
}

bool owner_lives(std::string_view prefix, pid_t pid) {
  if (::kill(pid, 0) != 0 && errno == ESRCH) return false;
  auto recorded = base::read_file(cat(run_dir(prefix), "/owner"));
  return !recorded || *recorded == start_time(pid);  // no record: it is being built, or its cgroup outlived the rest
}

Status kill_cgroup(const std::string& directory) {
  base::Fd kill_file(::open(cat(directory, "/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC));
  if (!kill_file) return errno == ENOENT ? Status() : Error::from_errno(cat("open ", directory, "/cgroup.kill"), errno);
  if (::write(kill_file.get(), "1", 1) != 1) return Error::from_errno(cat("write ", directory, "/cgroup.kill"), errno);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  base::Fd events(::open(cat(directory, "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC));
  while (events && std::chrono::steady_clock::now() < deadline) {
    char text[256] = {};
    if (::pread(events.get(), text, sizeof text - 1, 0) <= 0) return {};
    if (std::string_view(text).find("populated 0") != std::string_view::npos) return {};
    pollfd change{events.get(), POLLPRI, 0};  // cgroup.events notifies by POLLPRI
    ::poll(&change, 1, 100);
  }
  return {};
}

// Children first; a cgroup whose last process is just being reaped answers EBUSY for a moment.
Status remove_cgroup(const std::string& directory) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (entry.is_directory(error)) TRY(remove_cgroup(entry.path()));
  }
  for (int attempt = 0; attempt < 500; ++attempt) {
    if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
    if (errno != EBUSY) break;
    ::poll(nullptr, 0, 2);
  }
  return Error::from_errno(cat("rmdir ", directory), errno);
}

}  // namespace

Result<std::string> cgroup2_root() {
  const std::string table = TRY(base::read_file("/proc/self/mounts"));
  for (const std::string_view line : base::split(table, '\n')) {
    const auto fields = base::split(line, ' ');
    if (fields.size() > 2 && fields[2] == "cgroup2") return std::string(fields[1]);
  }
  return Error("cgroup v2 is not mounted");
}

std::string run_dir(std::string_view prefix) { return cat("/run/", prefix); }

Result<std::string> claim_prefix() {
  for (int n = 1; n < 1000; ++n) {
    const std::string prefix = cat(kPrefixStem, ::getpid(), "-", n);
    const std::string directory = run_dir(prefix);
    if (::mkdir(directory.c_str(), 0755) != 0) {
      if (errno == EEXIST) continue;
      return Error::from_errno(cat("mkdir ", directory), errno);
    }
    if (::mount(prefix.c_str(), directory.c_str(), "tmpfs", MS_NODEV, "mode=755") != 0) {
      return Error::from_errno(cat("mount tmpfs on ", directory), errno);
    }
    // Private: nothing of ours may be copied into other mount namespaces and be kept alive there.
    if (::mount("", directory.c_str(), "", MS_PRIVATE, nullptr) != 0)
      return Error::from_errno("mount MS_PRIVATE", errno);
    TRY(base::write_file_atomically(cat(directory, "/owner"), start_time(::getpid())));
    return prefix;
  }
  return Error("no free testbed prefix");
}

Status remove_remains(std::string_view prefix) {
  const std::string cgroup = cat(TRY(cgroup2_root()), "/", prefix);
  TRY(kill_cgroup(cgroup));
  TRY(remove_cgroup(cgroup));
  const std::string directory = run_dir(prefix);
  // One lazy detach takes the namespaces' bind mounts and the bpffs below with it.
  while (::umount2(directory.c_str(), MNT_DETACH) == 0) {
  }
  if (::rmdir(directory.c_str()) != 0 && errno != ENOENT) return Error::from_errno(cat("rmdir ", directory), errno);
  // Of a pod network that bears the testbed's name.
  for (const char* kept : {"/run/fairlead/cni/records/", "/var/lib/cni/networks/"}) {
    std::error_code error;
    std::filesystem::remove_all(cat(kept, prefix), error);
    if (error) return Error(cat("remove ", kept, prefix, ": ", error.message()));
  }
  return {};
}

Status mark_kept(std::string_view prefix) { return base::write_file_atomically(cat(run_dir(prefix), "/keep"), ""); }

Result<std::vector<std::string>> sweep(Kept kept) {
  std::set<std::string> found;
  for (const std::string& name : names_in("/run")) found.insert(name);
  for (const std::string& name : names_in(TRY(cgroup2_root()))) found.insert(name);
  std::vector<std::string> removed;
  for (const std::string& prefix : found) {
    const std::optional<pid_t> pid = pid_of(prefix);
    if (!pid || owner_lives(prefix, *pid)) continue;
    if (kept == Kept::Spare && ::access(cat(run_dir(prefix), "/keep").c_str(), F_OK) == 0) continue;
    TRY(remove_remains(prefix));
    removed.push_back(prefix);
  }
  return removed;
}

}  // namespace fairlead::testbed
