// InstanceLock: one agent per state directory; InstanceClaim: one per instance name and network namespace, whatever its
// state directory, since both would write the same tables. The kernel drops both when their holder dies, however it
// dies.
#pragma once

#include <chrono>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace fairlead::agent {

class InstanceLock {
 public:
  // Makes the directory when it is missing. The Error names the holder's pid. `patience` is for a holder that is just
  // dying: a process killed with SIGKILL keeps its locks until the kernel has taken it apart.
  static Result<InstanceLock> acquire(const std::string& state_dir, std::chrono::milliseconds patience = {});

 private:
  explicit InstanceLock(base::Fd fd) : fd_(std::move(fd)) {}
  base::Fd fd_;
};

class InstanceClaim {
 public:
  // The Error names the holder's pid.
  static Result<InstanceClaim> acquire(const std::string& instance, std::chrono::milliseconds patience = {});

 private:
  explicit InstanceClaim(base::Fd fd) : fd_(std::move(fd)) {}
  base::Fd fd_;  // an abstract unix socket: such names belong to a network namespace (man 7 unix)
};

// "<state_dir>/lock"
std::string lock_path(const std::string& state_dir);

}  // namespace fairlead::agent
