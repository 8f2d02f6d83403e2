// fairlead: a whole chain as one plugin. One process, one record and one result do what bridge (or ptp), portmap,
// bandwidth and firewall do one behind another.
//
// Its configuration is that of all of them together, and `mode`:
//   "bridge": the interface is the bridge plugin's
//   "routed": a veth that is routed to without a subnet (routed.h)
// Without `mode` it is "bridge" where the key `bridge` is set, else "routed".
#include <algorithm>
#include <vector>

#include "base/strings.h"
#include "cni-plugin/fields.h"
#include "cni-plugin/plugin.h"
#include "cni-plugin/routed.h"

namespace fairlead::cni {
namespace {

using Parts = std::vector<const Plugin*>;

Result<const Plugin*> interface_part(const Fields& config) {
  const auto mode = TRY(config.text("mode"));
  if (!mode || mode->empty()) return config.has("bridge") ? &kBridge : &kRouted;
  if (*mode == "bridge") return &kBridge;
  if (*mode == "routed") return &kRouted;
  return config.error("mode", base::cat("\"", *mode, "\" is unknown; allowed is \"bridge\" or \"routed\""));
}

// In the order they work in; they are undone from the back. Each behind the first works on the result so far.
Result<Parts> parts_of(const Call& call) {
  const Fields config = TRY(Fields::of(call.config));
  return Parts{TRY(interface_part(config))};
}

Result<NetResult> add(const Call& call, const World& world) {
  Call next = call;
  for (const Plugin* part : TRY(parts_of(call))) next.previous = TRY_CONTEXT(part->add(next, world), part->name);
  return *std::move(next.previous);
}

Status del(const Call& call, const World& world) {
  Parts parts = TRY(parts_of(call));
  std::reverse(parts.begin(), parts.end());
  for (const Plugin* part : parts) TRY_CONTEXT(part->del(call, world), part->name);
  return {};
}

Status check(const Call& call, const World& world) {
  for (const Plugin* part : TRY(parts_of(call))) {
    if (part->check != nullptr) TRY_CONTEXT(part->check(call, world), part->name);
  }
  return {};
}

}  // namespace

const Plugin kFairlead{.name = "fairlead",
                       .oldest_version = kVersions[0],
                       .about = "a pod's interface, host ports, bandwidth and firewall in one",
                       .add = add,
                       .del = del,
                       .check = check};

}  // namespace fairlead::cni
