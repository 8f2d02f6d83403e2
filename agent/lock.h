// InstanceLock: one agent per state directory. The kernel drops the lock when its holder dies, however it dies.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace fairlead::agent {

class InstanceLock {
 public:
  // Makes the directory when it is missing. The Error names the holder's pid.
  static Result<InstanceLock> acquire(const std::string& state_dir);

 private:
  explicit InstanceLock(base::Fd fd) : fd_(std::move(fd)) {}
  base::Fd fd_;
};

// "<state_dir>/lock"
std::string lock_path(const std::string& state_dir);

}  // namespace fairlead::agent
