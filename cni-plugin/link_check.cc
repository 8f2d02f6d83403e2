#include "cni-plugin/link_check.h"

#include <linux/rtnetlink.h>

#include <algorithm>

namespace fairlead::cni {
namespace {

using base::cat;

// As enter(), but nothing is written.
Result<Inside> look_into(const std::string& path, const std::string& name) {
  net::Netns netns = TRY(open_netns(path));
  net::Rtnl rtnl = TRY(net::Rtnl::open(netns));
  net::LinkInfo link = TRY(rtnl.link(name));
  return Inside{std::move(netns), std::move(rtnl), std::move(link)};
}

}  // namespace

Result<const Interface*> container_interface(const Call& call) {
  for (const Interface& one : call.previous->interfaces) {
    if (one.name == call.attachment.ifname && one.sandbox == call.netns) return &one;
  }
  return failure(code::kInvalidConfig, "prevResult: no interface ", call.attachment.ifname, " in ", call.netns);
}

const Interface* host_interface(const NetResult& result, std::string_view name) {
  const auto found = std::find_if(result.interfaces.begin(), result.interfaces.end(),
                                  [&](const Interface& one) { return one.name == name && one.sandbox.empty(); });
  return found == result.interfaces.end() ? nullptr : &*found;
}

Status check_link(const net::LinkInfo& link, const Interface& told, std::string_view kind) {
  if (link.kind != kind) return Error(cat(link.name, " is no ", kind, " but a \"", link.kind, "\""));
  if (!told.mac.empty() && told.mac != net::to_string(link.mac))
    return Error(cat(link.name, " has the MAC ", net::to_string(link.mac), ", prevResult tells ", told.mac));
  return {};
}

Status check_addresses(const Call& call, Inside& inside) {
  const auto addresses = TRY(inside.rtnl.list_addresses(inside.link.index));
  const auto& interfaces = call.previous->interfaces;
  for (const IpConfig& ip : call.previous->ips) {
    // Those of other interfaces are for who made them.
    if (ip.interface && *ip.interface < interfaces.size() && interfaces[*ip.interface].name != inside.link.name)
      continue;
    const bool there = std::any_of(addresses.begin(), addresses.end(), [&](const net::AddressInfo& one) {
      return one.address.address == ip.address.address;
    });
    if (!there) return Error(cat(inside.link.name, " has lost its address ", ip.address.to_string()));
  }
  return {};
}

Status check_routes(const Call& call, Inside& inside) {
  for (const auto family : {net::Family::V4, net::Family::V6}) {
    const auto routes = TRY(inside.rtnl.list_routes(family, 0));
    for (const Route& told : call.previous->routes) {
      if (told.destination.family() != family || told.table.value_or(RT_TABLE_MAIN) != RT_TABLE_MAIN) continue;
      const bool there = std::any_of(routes.begin(), routes.end(), [&](const net::RouteInfo& one) {
        return one.destination == told.destination && (!told.gateway || one.gateway == told.gateway);
      });
      if (!there) {
        return Error(cat("the container has lost its route to ", told.destination.to_string(),
                         told.gateway ? cat(" via ", told.gateway->to_string()) : std::string()));
      }
    }
  }
  return {};
}

Result<Inside> check_inside(const Call& call, std::string_view kind) {
  const Interface* told = TRY(container_interface(call));
  Inside inside = TRY(look_into(call.netns, told->name));
  TRY(check_link(inside.link, *told, kind));
  TRY(check_addresses(call, inside));
  TRY(check_routes(call, inside));
  return inside;
}

Result<net::LinkInfo> check_host_end(const Call& call, net::Rtnl& host, const Inside& inside) {
  auto link = TRY(host.find_link(inside.link.peer));
  if (!link || link->kind != "veth" || link->peer != inside.link.index)
    return Error(cat("the other end of ", inside.link.name, " is not in this namespace"));
  if (const Interface* told = host_interface(*call.previous, link->name)) TRY(check_link(*link, *told, "veth"));
  return *std::move(link);
}

Status check_host_routes(const Call& call, net::Rtnl& host, const net::LinkInfo& link) {
  for (const auto family : {net::Family::V4, net::Family::V6}) {
    const auto routes = TRY(host.list_routes(family, link.index));
    for (const IpConfig& ip : call.previous->ips) {
      const net::Prefix own = net::Prefix::host(ip.address.address);
      if (own.family() != family) continue;
      const bool there =
          std::any_of(routes.begin(), routes.end(), [&](const auto& one) { return one.destination == own; });
      if (!there) return Error(cat("the host has lost its route to ", own.to_string(), " by ", link.name));
    }
  }
  return {};
}

}  // namespace fairlead::cni
