// Runs a function in a child whose system calls are seen one by one, and counted, or ended by SIGKILL at one of them.
#pragma once

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <map>

namespace fairlead::ipam {

struct Traced {
  bool killed = false;
  int exit_code = -1;
  std::map<std::uint64_t, unsigned> calls;  // number -> how often; without those of the allocator of memory
};

// `kill_at` counts the stops, two of each system call: before the kernel acts and after. 0: it lives to its end.
inline Traced run_traced(const std::function<int()>& work, unsigned kill_at = 0) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    ::_exit(work());
  }
  Traced traced;
  int status = 0;
  ::waitpid(pid, &status, 0);
  ::ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  for (unsigned stop = 1;; ++stop) {
    ::ptrace(PTRACE_SYSCALL, pid, nullptr, nullptr);
    ::waitpid(pid, &status, 0);
    if (WIFEXITED(status)) {
      traced.exit_code = WEXITSTATUS(status);
      return traced;
    }
    if (WIFSIGNALED(status)) return traced;
    __ptrace_syscall_info info{};
    ::ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info);
    const std::uint64_t nr = info.entry.nr;
    const bool of_memory = nr == SYS_brk || nr == SYS_mmap || nr == SYS_munmap || nr == SYS_madvise || nr == SYS_mremap;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY && !of_memory) ++traced.calls[nr];
    if (stop != kill_at) continue;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
    traced.killed = true;
    return traced;
  }
}

}  // namespace fairlead::ipam
