#include "cni-plugin/wired.h"

#include <algorithm>

#include "cni-plugin/delegate.h"
#include "cni-plugin/host_link.h"
#include "cni-plugin/lifecycle.h"

namespace fairlead::cni {

Parts wired_parts(const Fields& config) {
  // A value that is none takes away more, not less.
  const auto may_have = [&](std::string_view key) {
    const auto value = config.boolean(key);
    return !value || value->value_or(false);
  };
  Parts parts = 0;
  if (may_have("ipMasq")) parts = parts | Part::Masquerade;
  if (may_have("macspoofchk")) parts = parts | Part::Spoof;
  return parts;
}

Result<std::vector<Claim>> unwire(const Call& call, const World& world, Parts parts) {
  TRY(remove_interface(call));
  Result<std::vector<Claim>> taken = std::vector<Claim>();
  if (parts != 0) taken = take_claims(call, parts);
  // What cannot be taken out of the tables goes with the next pod that has the address, which is not lost for that.
  const Status released = has_ipam(call) ? ipam_del(call, world) : Status();
  std::vector<Error> errors;
  if (!taken) errors.push_back(taken.error());
  if (!released) errors.push_back(released.error());
  TRY(joined(errors));
  return taken;
}

Result<NetResult> with_claims(const Call& call, Result<Wired> wired) {
  if (!wired) return std::move(wired).error();
  if (!wired->claims.elements.empty()) TRY(put_claims(call, wired->claims));
  return std::move(wired->result);
}

Status check_with_claims(const Call& call, Result<Claims> claims) {
  if (!claims) return std::move(claims).error();
  return claims->elements.empty() ? Status() : check_claims(call, *claims);
}

Status unwire_alone(const Call& call, const World& world) {
  const Fields config = TRY(Fields::of(call.config));
  TRY(unwire(call, world, wired_parts(config)));
  return {};
}

Status sweep_wired(const Call& call, const World&) {
  std::vector<Error> errors;
  for (Status done : {sweep_host_links(call), sweep_claims(call, Part::Masquerade | Part::Spoof)}) {
    if (!done) errors.push_back(std::move(done).error());
  }
  return joined(errors);
}

}  // namespace fairlead::cni
