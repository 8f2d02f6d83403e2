// A segment of a connection that lies far outside of every window, sent beside the connection's own socket.
#pragma once

#include "base/result.h"

namespace fairlead::testbed::probe {

// REQUIRES CAP_NET_ADMIN and CAP_NET_RAW. `connection`: a connected TCP socket; its own state does not change.
Status send_invalid_segment(int connection);

}  // namespace fairlead::testbed::probe
