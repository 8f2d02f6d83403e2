// wired: a veth that stands, with what nftables is to hold for it; so that several plugins in one (fairlead.cc) need
// one transaction. What bridge, ptp and routed do alike when it goes.
#pragma once

#include "cni-plugin/container_link.h"
#include "cni-plugin/fields.h"
#include "cni-plugin/plugin.h"
#include "cni-plugin/tables.h"

namespace fairlead::cni {

struct Wired {
  NetResult result;
  Claims claims;  // ipMasq, macspoofchk
};
Result<Wired> wire_bridge(const Call& call, const World& world, Place place);
Result<Wired> wire_routed(const Call& call, const World& world, Place place);  // routed.cc says what that is
Result<Wired> wire_ptp(const Call& call, const World& world, Place place);

// Without the claims, which check_claims() looks after.
Status check_bridge(const Call& call, const World& world);
Status check_routed(const Call& call, const World& world);

// The claims again, as CHECK needs them: from prevResult.
Result<Claims> bridge_claims(const Call& call);
Result<Claims> routed_claims(const Call& call);

// Which parts of the tables the configuration has something in: Part::Masquerade, Part::Spoof.
Parts wired_parts(const Fields& config);

// The link first, then what stands in `parts`, the addresses last: nobody gets one whose last owner is still there.
// What was in the tables is returned.
Result<std::vector<Claim>> unwire(const Call& call, const World& world, Parts parts);

// The same three verbs as plugins by themselves.
Result<NetResult> with_claims(const Call& call, Result<Wired> wired);
Status check_with_claims(const Call& call, Result<Claims> claims);
Status unwire_alone(const Call& call, const World& world);  // DEL of bridge and ptp
Status sweep_wired(const Call& call, const World& world);   // GC: links and elements that nobody in call.valid has

}  // namespace fairlead::cni
