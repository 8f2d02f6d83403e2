#include "net/netns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <utility>

#include "base/file.h"
#include "base/strings.h"

#ifndef NSFS_MAGIC
#define NSFS_MAGIC 0x6e736673
#endif

namespace fairlead::net {
namespace {

constexpr char kOwn[] = "/proc/thread-self/ns/net";

}  // namespace

Result<Netns> Netns::open(const std::string& path) {
  base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno(path, errno);
  struct statfs file_system {};
  struct stat file {};
  if (::fstatfs(fd.get(), &file_system) != 0 || ::fstat(fd.get(), &file) != 0) return Error::from_errno(path, errno);
  if (file_system.f_type != NSFS_MAGIC)
    return Error(base::cat(path, ": not a network namespace (an unmounted one leaves such a file)"), EINVAL);
  return Netns(std::move(fd), file.st_ino);
}

Result<Netns> Netns::current() { return open(kOwn); }

Status Netns::run(const std::function<Status()>& work) const {
  const Netns home = TRY(current());
  if (home == *this) return work();  // to enter takes CAP_SYS_ADMIN, to be there nothing
  if (::setns(fd_.get(), CLONE_NEWNET) != 0) return Error::from_errno("enter the network namespace", errno);
  Status done = work();
  if (::setns(home.fd(), CLONE_NEWNET) != 0) return Error::from_errno("return to the network namespace", errno);
  return done;
}

Status write_sysctl(const std::string& path, std::string_view value) {
  const std::string file = base::cat("/proc/sys/", path);
  const base::Fd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno(file, errno);
  if (::write(fd.get(), value.data(), value.size()) < 0) return Error::from_errno(base::cat(file, " = ", value), errno);
  return {};
}

Result<std::string> read_sysctl(const std::string& path) {
  return std::string(base::trim(TRY(base::read_file(base::cat("/proc/sys/", path)))));
}

}  // namespace fairlead::net
