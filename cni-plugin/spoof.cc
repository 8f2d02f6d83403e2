#include "cni-plugin/spoof.h"

namespace fairlead::cni {

Claims spoof_claims(const std::string& host_link, const net::Mac& mac) {
  const std::string link = interface_bytes(host_link);
  std::string allowed = link;
  allowed.append(reinterpret_cast<const char*>(mac.data()), mac.size()).append(2, '\0');
  Claims claims;
  claims.elements.push_back({SetId::GuardedPorts, element_of(link)});
  claims.elements.push_back({SetId::Macs, element_of(allowed)});
  return claims;
}

Status add_spoof_check(const Call& call, const std::string& host_link, const net::Mac& mac) {
  return put_claims(call, spoof_claims(host_link, mac));
}

Status del_spoof_check(const Call& call) {
  TRY(take_claims(call, static_cast<Parts>(Part::Spoof)));
  return {};
}

Status check_spoof_check(const Call& call, const std::string& host_link, const net::Mac& mac) {
  return check_claims(call, spoof_claims(host_link, mac));
}

}  // namespace fairlead::cni
