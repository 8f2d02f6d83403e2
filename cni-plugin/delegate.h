// The IPAM plugin of a configuration (`ipam.type`): in process when it is one of ours, else executed from CNI_PATH with
// the whole stdin and our environment, as the specification's "Delegated plugins" says. Nobody can tell but by the
// clock.
#pragma once

#include "cni-plugin/plugin.h"

namespace fairlead::cni {

// Addresses for call.attachment. An Error when `ipam.type` cannot be found names where it was looked for.
Result<NetResult> ipam_add(const Call& call, const World& world);
Status ipam_del(const Call& call, const World& world);
Status ipam_check(const Call& call, const World& world);
Status ipam_status(const Call& call, const World& world);
Status ipam_gc(const Call& call, const World& world);

// Whether there is such a plugin, before anything is done. An ADD that begins without it could not be undone either.
Status find_ipam(const Call& call);

// Whether the configuration has an ipam section with a type.
bool has_ipam(const Call& call);

}  // namespace fairlead::cni
