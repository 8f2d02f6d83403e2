// CniHost: a host for CNI plugins. A network namespace and a mount namespace with tmpfs on /run, /var/lib/cni and (over
// it, so that it can be written) /etc, and the network namespaces of containers at /run/netns/<name>.
//
// All of it hangs on two descriptors of this process: when it dies, by whatever, the kernel takes everything away.
// Several hosts stand side by side. One thread uses a host.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace fairlead::cnitest {

using std::chrono::microseconds;

struct Command {
  std::vector<std::string> argv;  // argv[0] is a path
  std::map<std::string, std::string> environment;
  std::string input;
};

struct Outcome {
  int exit_code = 0;  // 128 + signal when it was killed
  std::string out;
  std::string err;
  microseconds took{0};  // from fork to exit
};

class CniHost {
 public:
  static Result<CniHost> create();

  // A network namespace as a runtime makes it: loopback is down.
  Status add_container(const std::string& name);
  Status remove_container(const std::string& name);
  static std::string netns(const std::string& container) { return "/run/netns/" + container; }

  // In a thread of its own, in the host's namespaces, or in the container's network namespace.
  Status inside(const std::function<Status()>& work) const;
  Status inside(const std::string& container, const std::function<Status()>& work) const;

  // A command line that runs the one behind it in the host's namespaces.
  std::vector<std::string> nsenter() const;
  // Runs the command in the host's namespaces to its end. An Error when it cannot be run or takes longer than 30 s.
  Result<Outcome> run(const Command& command) const;
  // /bin/sh -ec; a non-zero exit is an Error with stderr. Its stdout.
  Result<std::string> shell(const std::string& script) const;
  // Kills the command (SIGKILL) where it enters its system call number `at`, counted from 1 behind execve. Nothing when
  // it came to its end before that.
  Result<std::optional<Outcome>> run_until_syscall(const Command& command, unsigned at) const;

 private:
  CniHost(base::Fd mounts, base::Fd network) : mounts_(std::move(mounts)), network_(std::move(network)) {}
  Status enter() const;  // the calling thread, for good
  Result<pid_t> start(const Command& command, const base::Fd& out, const base::Fd& err, bool traced) const;

  base::Fd mounts_;
  base::Fd network_;
};

}  // namespace fairlead::cnitest
