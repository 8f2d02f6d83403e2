// Process: a child in a namespace and a cgroup, killed when its owner goes. Its stderr (and stdout, unless piped) goes
// to a log file. Start goes through `fairlead-probe enter`, which moves itself and then becomes the program: safe in a
// process with threads, and the pid is the program's own.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace fairlead::testbed {

using std::chrono::milliseconds;

enum class Pipes { None, InOut };

struct Launch {
  std::vector<std::string> argv;
  std::string netns;   // path; empty: stays
  std::string cgroup;  // directory; empty: stays
  std::string log;     // appended to; empty: /dev/null
  Pipes pipes = Pipes::None;
};

// <name> in $FAIRLEAD_BUILD_DIR/bin (set by tools/run_tests.py), else in the bin folder of the build this belongs to.
std::string program_path(std::string_view name);
// The command line that enters launch.netns and launch.cgroup first.
std::vector<std::string> wrapped(const Launch& launch);

class Process {
 public:
  static Result<Process> start(const Launch& launch);
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();  // SIGKILL

  pid_t pid() const { return pid_; }
  bool running();
  Status signal(int number);
  // The exit code (128 + signal when killed), or ETIMEDOUT.
  Result<int> wait(milliseconds limit);
  void kill();  // SIGKILL and wait
  std::string log() const;

  Status write_line(const std::string& line);
  Result<std::string> read_line(milliseconds limit);
  void close_input() { in_.reset(); }

 private:
  Process() = default;
  pid_t pid_ = -1;
  int exit_code_ = -1;  // once reaped
  base::Fd pidfd_;
  base::Fd in_;
  base::Fd out_;
  std::string unread_;
  std::string log_path_;
};

}  // namespace fairlead::testbed
