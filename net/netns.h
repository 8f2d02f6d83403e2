// netns: other network namespaces, by path.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace fairlead::net {

class Netns {
 public:
  // The namespace a path leads to ("/var/run/netns/x", "/proc/123/ns/net"). ENOENT when there is none; an Error too
  // when the path leads to something else (EINVAL): a plain file is what an unmounted name leaves behind.
  static Result<Netns> open(const std::string& path);
  static Result<Netns> current();  // of the calling thread

  int fd() const { return fd_.get(); }
  std::uint64_t inode() const { return inode_; }  // which namespace it is, while it lives
  bool operator==(const Netns& other) const { return inode_ == other.inode_; }

  // Runs `work` with the calling thread inside, then brings the thread back. Sockets opened inside stay inside, and
  // /proc/sys/net is that namespace's. An Error that the way back failed wins over work's.
  Status run(const std::function<Status()>& work) const;

 private:
  Netns(base::Fd fd, std::uint64_t inode) : fd_(std::move(fd)), inode_(inode) {}
  base::Fd fd_;
  std::uint64_t inode_ = 0;
};

// /proc/sys/<path> ("net/ipv4/ip_forward") of the calling thread's network namespace.
Status write_sysctl(const std::string& path, std::string_view value);
Result<std::string> read_sysctl(const std::string& path);  // without the newline

}  // namespace fairlead::net
