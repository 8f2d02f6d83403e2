// Sandbox: this process in a network and mount namespace of its own, with a bpffs and a cgroup to give to a dataplane.
// Namespaces and mounts vanish with the process; the cgroup is removed by the destructor of the process that made it.
#pragma once

#include <string>

#include "base/result.h"

namespace fairlead::tests::bench {

// A cgroup v2 under the mount at hand; removed when it goes out of scope.
class Cgroup {
 public:
  static Result<Cgroup> create(const std::string& name);
  Cgroup(Cgroup&& other) noexcept;
  Cgroup& operator=(Cgroup&&) = delete;
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;
  ~Cgroup();
  const std::string& path() const { return path_; }

 private:
  explicit Cgroup(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Moves the calling process (single-threaded as yet) into new namespaces; returns the path of a fresh bpffs.
Result<std::string> enter_sandbox();

}  // namespace fairlead::tests::bench
