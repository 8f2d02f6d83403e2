#include "cni-plugin/host_route.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "cni-plugin/layout.h"
#include "net/netlink_message.h"

namespace fairlead::cni {

Result<HostRoute> host_route(const net::Ip& to) {
  const std::string address = bytes_of(to);
  rtmsg header{};
  header.rtm_family = to.is_v4() ? AF_INET : AF_INET6;
  header.rtm_dst_len = static_cast<unsigned char>(address.size() * 8);
  net::NetlinkMessage question(RTM_GETROUTE, 0);
  question.header(header).attribute(RTA_DST, address);
  const auto bodies = TRY_CONTEXT(net::netlink_request(NETLINK_ROUTE, question), "route to " + to.to_string());
  if (bodies.empty() || bodies[0].size() < sizeof(rtmsg)) return Error("route to " + to.to_string() + ": no answer");
  const std::string_view attributes = std::string_view(bodies[0]).substr(NLMSG_ALIGN(sizeof(rtmsg)));
  return HostRoute{.link = net::netlink_value<std::uint32_t>(net::netlink_attribute(attributes, RTA_OIF)),
                   .local = net::netlink_value<rtmsg>(bodies[0]).rtm_type == RTN_LOCAL};
}

}  // namespace fairlead::cni
