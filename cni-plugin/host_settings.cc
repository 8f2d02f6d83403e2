#include "cni-plugin/host_settings.h"

#include <algorithm>

#include "net/netns.h"

namespace fairlead::cni {

Status enable_forwarding(const std::vector<IpConfig>& ips) {
  for (const auto& [family, path] : {std::pair(net::Family::V4, "net/ipv4/ip_forward"),
                                     std::pair(net::Family::V6, "net/ipv6/conf/all/forwarding")}) {
    const auto is_family = [&, family = family](const IpConfig& ip) { return ip.address.family() == family; };
    if (std::none_of(ips.begin(), ips.end(), is_family)) continue;
    const std::string now = TRY(net::read_sysctl(path));
    if (now != "1") TRY_CONTEXT(net::write_sysctl(path, "1"), "enable forwarding");
  }
  return {};
}

}  // namespace fairlead::cni
