#include "tests/bench/sandbox.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/strings.h"

namespace fairlead::tests::bench {

Result<Cgroup> Cgroup::create(const std::string& name) {
  // Hybrid machines keep cgroup v2 apart; on unified ones it is the mount itself.
  struct stat unused {};
  const bool unified = ::stat("/sys/fs/cgroup/cgroup.controllers", &unused) == 0;
  std::string path = base::cat(unified ? "/sys/fs/cgroup/" : "/sys/fs/cgroup/unified/", name);
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return Error::from_errno(path, errno);
  return Cgroup(std::move(path));
}

Cgroup::Cgroup(Cgroup&& other) noexcept : path_(std::exchange(other.path_, {})) {}

Cgroup::~Cgroup() {
  if (!path_.empty()) ::rmdir(path_.c_str());
}

Result<std::string> enter_sandbox() {
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return Error::from_errno("unshare", errno);
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return Error::from_errno("mount --make-rprivate", errno);
  const std::string directory = "/mnt";
  if (::mount("fairlead-bench", directory.c_str(), "bpf", 0, nullptr) != 0)
    return Error::from_errno("mount bpffs", errno);
  return directory;
}

}  // namespace fairlead::tests::bench
