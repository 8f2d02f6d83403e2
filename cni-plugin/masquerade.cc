#include "cni-plugin/masquerade.h"

#include "base/strings.h"

namespace fairlead::cni {

Claims masquerade_claims(const std::vector<IpConfig>& ips) {
  Claims claims;
  for (const IpConfig& ip : ips) {
    const net::Prefix subnet = ip.address.subnet();
    const std::string pod = bytes_of(ip.address.address);
    const std::string near = pod + bytes_of(subnet.address) + bytes_of(std::uint32_t{subnet.length});
    claims.elements.push_back({of_family(SetId::Leaving4, subnet.family()), element_of(pod)});
    claims.elements.push_back({of_family(SetId::Near4, subnet.family()), element_of(near)});
    claims.extras.insert({Extra::Kind::Near, subnet.family(), subnet.length});
  }
  return claims;
}

Status add_masquerade(const Call& call, const std::vector<IpConfig>& ips) {
  return put_claims(call, masquerade_claims(ips));
}

Status del_masquerade(const Call& call) {
  TRY(take_claims(call, static_cast<Parts>(Part::Masquerade)));
  return {};
}

Status check_masquerade(const Call& call, const std::vector<IpConfig>& ips) {
  return check_claims(call, masquerade_claims(ips));
}

Status check_masquerade_backend(const Fields& config) {
  const auto backend = TRY(config.text("ipMasqBackend"));
  if (!backend || backend->empty() || *backend == "iptables" || *backend == "nftables" || *backend == "auto") return {};
  return config.error("ipMasqBackend", base::cat("\"", *backend, "\" is none of iptables, nftables, auto"));
}

}  // namespace fairlead::cni
