#include "base/beside.h"

#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <new>

namespace fairlead::base {
namespace {

constexpr std::size_t kStack = 16384;

// A sanitizer keeps its books per thread, and the child would write in ours: there it gets a copy.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kMemory = 0;
#else
constexpr int kMemory = CLONE_VM;
#endif

struct Start {
  void (*run)(const Errand&);
  Errand errand;
};

void close_range(unsigned first, unsigned last) {
  if (first > last || ::syscall(SYS_close_range, first, last, 0U) == 0) return;
  for (unsigned fd = first; fd <= std::min(last, 1023U); ++fd) ::close(static_cast<int>(fd));  // linux before v5.9
}

void close_all_but(int a, int b) {
  unsigned next = 0;
  for (const int kept : {std::min(a, b), std::max(a, b)}) {
    if (kept < 0) continue;
    if (kept > 0) close_range(next, static_cast<unsigned>(kept) - 1);
    next = static_cast<unsigned>(kept) + 1;
  }
  close_range(next, ~0U);
}

int begin(void* argument) {
  const Start& start = *static_cast<const Start*>(argument);
  close_all_but(start.errand.descriptors[0], start.errand.descriptors[1]);
  start.run(start.errand);
  ::_exit(0);
}

}  // namespace

bool start_beside(void (*run)(const Errand&), const Errand& errand) {
  void* memory = ::mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) return false;
  // At the bottom, the stack grows down towards it.
  Start* start = new (memory) Start{run, errand};
  if (::clone(begin, static_cast<char*>(memory) + kStack, kMemory | SIGCHLD, start) > 0) return true;
  ::munmap(memory, kStack);
  return false;
}

}  // namespace fairlead::base
