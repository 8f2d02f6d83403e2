#include "cni-plugin/wired.h"

#include <algorithm>

#include "cni-plugin/delegate.h"
#include "cni-plugin/host_link.h"

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
  std::vector<Claim> taken;
  if (parts != 0) taken = TRY(take_claims(call, parts));
  if (has_ipam(call)) TRY(ipam_del(call, world));
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
  const Status links = sweep_host_links(call);
  const Status elements = sweep_claims(call, Part::Masquerade | Part::Spoof);
  if (!links) return links;
  return elements;
}

}  // namespace fairlead::cni
