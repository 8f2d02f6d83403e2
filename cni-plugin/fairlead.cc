// fairlead: a whole chain as one plugin. One process, one record, one nftables transaction and one result do what
// bridge (or ptp), portmap, bandwidth and firewall do one behind another.
//
// Its configuration is that of all of them together, and
//   mode      "bridge": the interface is the bridge plugin's; "routed": a veth that is routed to without a subnet
//             (routed.cc). Without it: "bridge" where the key `bridge` is set, else "routed"
//   agent     socket of the node agent, which STATUS asks
//   firewall  true: as the firewall plugin does, the host forwards what goes to and comes from the pod whatever the
//             policy of its FORWARD chain. Without it: nothing
#include "base/strings.h"
#include "cni-plugin/agent_status.h"
#include "cni-plugin/fields.h"
#include "cni-plugin/firewall.h"
#include "cni-plugin/lifecycle.h"
#include "cni-plugin/portmap.h"
#include "cni-plugin/wired.h"

namespace fairlead::cni {
namespace {

struct InterfacePart {
  Result<Wired> (*wire)(const Call&, const World&, Place);
  Status (*check)(const Call&, const World&);
  Result<Claims> (*claims)(const Call&);
};
constexpr InterfacePart kBridged{wire_bridge, check_bridge, bridge_claims};
constexpr InterfacePart kRouted{wire_routed, check_routed, routed_claims};

Result<InterfacePart> interface_part(const Fields& config) {
  const auto mode = TRY(config.text("mode"));
  if (!mode || mode->empty()) return config.has("bridge") ? kBridged : kRouted;
  if (*mode == "bridge") return kBridged;
  if (*mode == "routed") return kRouted;
  return config.error("mode", base::cat("\"", *mode, "\" is unknown; allowed is \"bridge\" or \"routed\""));
}

// Behind the interface, by `call.previous`, which is what it became.
Status append_others(const Call& call, const Fields& config, Claims& claims) {
  append(claims, TRY(port_claims(call)));
  const bool firewall = TRY(config.boolean("firewall")).value_or(false);
  if (firewall) append(claims, TRY(firewall_claims(call)));
  return {};
}

// STATUS: the node agent knows more than this process can see, where the configuration names its socket.
Status status(const Call& call, const World&) {
  const Fields config = TRY(Fields::of(call.config));
  const auto socket = TRY(config.text("agent"));
  return socket && !socket->empty() ? agent_status(*socket) : Status();
}

Result<NetResult> add(const Call& call, const World& world) {
  Place place = TRY(free_place(call));
  const Fields config = TRY(Fields::of(call.config));
  const InterfacePart interface = TRY(interface_part(config));
  Wired wired = TRY(interface.wire(call, world, std::move(place)));
  Call next = call;
  next.previous = std::move(wired.result);
  Claims& claims = wired.claims;
  TRY(append_others(next, config, claims));
  if (!claims.elements.empty()) TRY(put_claims(call, claims));
  TRY(open_ports(claims));
  return kBandwidth.add(next, world);
}

Status del(const Call& call, const World& world) {
  TRY(kBandwidth.del(call, world));
  const Fields config = TRY(Fields::of(call.config));
  const Parts parts = wired_parts(config) | Part::Ports | Part::Firewall;
  const std::vector<Claim> taken = TRY(unwire(call, world, parts));
  return close_ports(taken);
}

Status check(const Call& call, const World& world) {
  const Fields config = TRY(Fields::of(call.config));
  const InterfacePart interface = TRY(interface_part(config));
  TRY(interface.check(call, world));
  Claims claims = TRY(interface.claims(call));
  TRY(append_others(call, config, claims));
  if (!claims.elements.empty()) TRY(check_claims(call, claims));
  return kBandwidth.check(call, world);
}

Status gc(const Call& call, const World& world) {
  std::vector<Error> errors;
  for (Status done : {sweep_wired(call, world), sweep_claims(call, Part::Ports | Part::Firewall)}) {
    if (!done) errors.push_back(std::move(done).error());
  }
  return joined(errors);
}

}  // namespace

const Plugin kFairlead{.name = "fairlead",
                       .oldest_version = kVersions[0],
                       .about = "a pod's interface, host ports, bandwidth and firewall in one",
                       .has_ipam = true,
                       .add = add,
                       .del = del,
                       .check = check,
                       .status = status,
                       .gc = gc};

}  // namespace fairlead::cni
