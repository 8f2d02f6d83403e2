// link_check: CHECK of what interface plugins made, against prevResult. What a later plugin of the chain added is no
// offence; what is missing or different is.
#pragma once

#include <string>

#include "cni-plugin/call.h"
#include "cni-plugin/container_link.h"

namespace fairlead::cni {

// The interface of prevResult that is CNI_IFNAME in CNI_NETNS. An Error when there is none.
Result<const Interface*> container_interface(const Call& call);
// The one of prevResult called `name` in the host's namespace; null when there is none.
const Interface* host_interface(const NetResult& result, std::string_view name);

// The link is of that kind, and has the MAC that prevResult tells.
Status check_link(const net::LinkInfo& link, const Interface& told, std::string_view kind);
// Its addresses and the routes of its namespace hold what prevResult tells of them.
Status check_addresses(const Call& call, Inside& inside);
Status check_routes(const Call& call, Inside& inside);

// The container's link, checked as above all at once.
Result<Inside> check_inside(const Call& call, std::string_view kind);
// The other end of the container's veth, in `host`.
Result<net::LinkInfo> check_host_end(const Call& call, net::Rtnl& host, const Inside& inside);
// The host has a route to each of prevResult's addresses by `link`.
Status check_host_routes(const Call& call, net::Rtnl& host, const net::LinkInfo& link);

}  // namespace fairlead::cni
