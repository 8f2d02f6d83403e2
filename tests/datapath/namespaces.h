// NetNamespace: a network namespace bound to a file, with a netlink socket inside it; in_namespace() runs a function
// there. Threads change their namespace one by one, so all work happens in a short-lived thread and the caller's own
// namespace is never touched.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "tests/datapath/netlink.h"

namespace fairlead::testbed {

// "net/ipv4/ip_forward" -> "1"; written inside the namespace.
using Sysctls = std::vector<std::pair<std::string, std::string>>;

class NetNamespace {
 public:
  // Creates a namespace with loopback up and keeps it at `path`; it lives until that bind mount and its last user go.
  static Result<NetNamespace> create(const std::string& path, const Sysctls& sysctls);

  const std::string& path() const { return path_; }
  int fd() const { return fd_.get(); }
  Netlink& netlink() { return netlink_; }

 private:
  NetNamespace(std::string path, base::Fd fd, Netlink netlink)
      : path_(std::move(path)), fd_(std::move(fd)), netlink_(std::move(netlink)) {}
  std::string path_;
  base::Fd fd_;
  Netlink netlink_;
};

// Runs `work` to its end in a thread that has entered the namespace. Sockets made there stay in it. The thread keeps
// this process's cgroup: for the eBPF dataplane it is a process that bypasses the socket hooks.
Status in_namespace(int netns_fd, const std::function<Status()>& work);
Status set_sysctls(const Sysctls& sysctls);  // of the calling thread's namespace

template <typename T>
Result<T> value_in_namespace(int netns_fd, const std::function<Result<T>()>& work) {
  std::optional<Result<T>> result;
  TRY(in_namespace(netns_fd, [&]() -> Status {
    result.emplace(work());
    return {};
  }));
  return *std::move(result);
}

}  // namespace fairlead::testbed
