#include "agent/mounts.h"

#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statfs.h>

#include <cerrno>

namespace fairlead::agent {
namespace {

bool is_filesystem(const std::string& path, unsigned long magic) {
  struct statfs info {};
  return ::statfs(path.c_str(), &info) == 0 && static_cast<unsigned long>(info.f_type) == magic;
}

}  // namespace

std::string default_cgroup() {
  for (const char* path : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    if (is_filesystem(path, CGROUP2_SUPER_MAGIC)) return path;
  }
  return "/sys/fs/cgroup";
}

Result<BpfRoot> ensure_bpf_root(const std::string& path, MountFor scope) {
  if (is_filesystem(path, BPF_FS_MAGIC)) return BpfRoot::Ready;
  if (path != kDefaultBpfRoot) return Error(path + " is not a bpffs: mount one there (mount -t bpf bpf " + path + ")");
  if (scope == MountFor::ThisProcess) {
    if (::unshare(CLONE_NEWNS) != 0) return Error::from_errno("unshare the mount namespace", errno);
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      return Error::from_errno("make mounts private", errno);
    }
  }
  if (::mount("bpf", path.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
    return Error::from_errno("cannot mount a bpffs on " + path, errno);
  }
  return BpfRoot::Mounted;
}

}  // namespace fairlead::agent
