// sweep: for the node agent, which shares no code with the plugins: `fairlead-cni sweep` tells which recorded
// attachments cannot be alive any more, `fairlead-cni release RECORD...` takes away what is left of them. So an
// attachment whose runtime never sent its DEL goes too (containerd sends no GC).
//
// Both must run in the mount and network namespaces that the runtime runs its plugins in; a record that was made in
// others is neither told nor released. An agent in a container says `--namespaces-of=1` first.
#pragma once

#include <string>
#include <vector>

#include "cni-plugin/dispatch.h"

namespace fairlead::cni {

// stdout: [{"record", "plugin", "network", "containerId", "ifname", "state", "reason"}], "record" being what release
// takes. What cannot be read or judged is named on stderr.
Answer sweep(const World& world);

// Each is looked at again first; one that is alive, or that another call is busy with, stays. stdout: [{"record",
// "released", "error"?}]. Exit 1 when one of them stays. One that is not there has been released.
Answer release(const std::vector<std::string>& records, const World& world);

// Moves this process into the mount and network namespaces of another.
Status enter_namespaces_of(int pid);

}  // namespace fairlead::cni
