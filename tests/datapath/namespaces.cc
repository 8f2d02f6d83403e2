#include "tests/datapath/namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "base/strings.h"

namespace fairlead::testbed {
namespace {

using base::cat;

constexpr int kLoopback = 1;

struct Born {
  base::Fd fd;
  std::optional<Netlink> netlink;
};

// Runs in its own thread, which ends up in the new namespace.
Status make(const std::string& path, const Sysctls& sysctls, Born& born) {
  if (::unshare(CLONE_NEWNET) != 0) return Error::from_errno("unshare(CLONE_NEWNET)", errno);
  base::Fd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
  if (!file) return Error::from_errno(cat("create ", path), errno);
  if (::mount("/proc/thread-self/ns/net", path.c_str(), "", MS_BIND, nullptr) != 0) {
    return Error::from_errno(cat("bind namespace to ", path), errno);
  }
  born.fd = base::Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!born.fd) return Error::from_errno(cat("open ", path), errno);
  TRY(set_sysctls(sysctls));
  born.netlink.emplace(TRY(Netlink::open()));
  born.netlink->set_up(kLoopback);
  return born.netlink->commit();
}

}  // namespace

Result<NetNamespace> NetNamespace::create(const std::string& path, const Sysctls& sysctls) {
  Born born;
  Status status;
  std::thread([&] { status = make(path, sysctls, born); }).join();
  if (!status) return std::move(status).error();
  return NetNamespace(path, std::move(born.fd), *std::move(born.netlink));
}

Status in_namespace(int netns_fd, const std::function<Status()>& work) {
  Status status;
  std::thread([&] {
    status = ::setns(netns_fd, CLONE_NEWNET) == 0 ? work() : Status(Error::from_errno("setns", errno));
  }).join();
  return status;
}

Status set_sysctls(const Sysctls& sysctls) {
  for (const auto& [name, value] : sysctls) {
    const std::string path = cat("/proc/sys/", name);
    base::Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file || ::write(file.get(), value.data(), value.size()) < 0) {
      return Error::from_errno(cat("write ", value, " to ", path), errno);
    }
  }
  return {};
}

}  // namespace fairlead::testbed
