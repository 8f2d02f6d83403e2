// TCP's own means to notice that a host is gone: keep-alive probes and TCP_USER_TIMEOUT.
#pragma once

#include "base/clock.h"

namespace fairlead::kube {

// Probes after `idle`; ends the connection before `idle` + `answer_timeout` have passed without anything, so that the
// kernel's reason is the one reported. Best effort: a socket that takes no such option works all the same.
void set_keep_alive(int fd, base::Duration idle, base::Duration answer_timeout);

}  // namespace fairlead::kube
