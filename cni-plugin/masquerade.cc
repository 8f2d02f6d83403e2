#include "cni-plugin/masquerade.h"

#include <set>

#include "base/strings.h"

namespace fairlead::cni {

Claims masquerade_claims(const std::vector<IpConfig>& ips, const std::vector<net::Prefix>& exempt) {
  Claims claims;
  for (const IpConfig& ip : ips) {
    const net::Family family = ip.address.family();
    const std::string pod = bytes_of(ip.address.address);
    claims.elements.push_back({of_family(SetId::Leaving4, family), element_of(pod)});
    std::set<net::Prefix> near(exempt.begin(), exempt.end());
    near.insert(ip.address.subnet());
    for (const net::Prefix& prefix : near) {
      if (prefix.family() != family) continue;
      const std::string key = pod + bytes_of(prefix.address) + bytes_of(std::uint32_t{prefix.length});
      claims.elements.push_back({of_family(SetId::Near4, family), element_of(key)});
      claims.extras.insert({Extra::Kind::Near, family, prefix.length});
    }
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
