#include "tests/demo/interrupt.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

namespace fairlead::demo {
namespace {

// A signal handler can reach nothing but these.
volatile sig_atomic_t received = 0;
int wake_fd = -1;

void on_signal(int number) {
  if (received != 0) ::_exit(128 + number);
  received = number;
  const std::uint64_t one = 1;
  (void)!::write(wake_fd, &one, sizeof one);
}

}  // namespace

Status Interrupt::install() {
  wake_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd < 0) return Error::from_errno("eventfd", errno);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    if (::sigaction(number, &action, nullptr) != 0) return Error::from_errno("sigaction", errno);
  }
  return {};
}

int Interrupt::signal_number() { return received; }

Status Interrupt::check() { return received == 0 ? Status() : Error("interrupted", EINTR); }

Status Interrupt::pause(std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  for (;;) {
    TRY(check());
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return {};
    pollfd wake{wake_fd, POLLIN, 0};
    ::poll(&wake, 1, static_cast<int>(left.count()));
  }
}

}  // namespace fairlead::demo
