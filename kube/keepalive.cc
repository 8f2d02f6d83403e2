#include "kube/keepalive.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>

namespace fairlead::kube {
namespace {

template <typename Unit>
int whole(base::Duration duration, int least) {
  return std::max(least, static_cast<int>(std::chrono::ceil<Unit>(duration).count()));
}

}  // namespace

// tcp(7): with TCP_USER_TIMEOUT an unanswered keep-alive probe, or data not acknowledged, ends the connection once that
// much time has passed.
void set_keep_alive(int fd, base::Duration idle, base::Duration answer_timeout) {
  const int on = 1;
  const int idle_s = whole<std::chrono::seconds>(idle, 1);
  const int interval_s = whole<std::chrono::seconds>(answer_timeout / 3, 1);
  const int limit_ms = whole<std::chrono::milliseconds>(idle + answer_timeout * 2 / 3, 1000);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof limit_ms);
}

}  // namespace fairlead::kube
