#include "cni-plugin/child_link.h"

#include <cerrno>

#include "cni-plugin/delegate.h"
#include "cni-plugin/host_link.h"
#include "cni-plugin/marks.h"

namespace fairlead::cni {
namespace {

using base::cat;

Result<net::LinkInfo> link_of_default_route(net::Rtnl& rtnl) {
  for (const auto family : {net::Family::V4, net::Family::V6}) {
    for (const net::RouteInfo& route : TRY(rtnl.list_routes(family, 0))) {
      if (route.destination.length != 0) continue;
      if (auto link = TRY(rtnl.find_link(route.link))) return *std::move(link);
    }
  }
  return failure(code::kInvalidConfig, "master: is missing, and there is no default route whose interface could be it");
}

// `rtnl` is in the master's namespace.
Status create(net::Rtnl& rtnl, const net::NewLink& link) {
  const auto made = rtnl.order(net::create_link(link));
  if (made) return {};
  const bool unknown = made.error().errno_value() == EOPNOTSUPP;
  return made.error().with_context(
      cat("create ", link.kind, unknown ? cat(" (the kernel lacks it: is the module ", link.kind, " there?)") : ""));
}

}  // namespace

Result<Master> find_master(const net::Netns& container, const std::string& name, bool in_container) {
  Master master;
  master.in_container = in_container;
  net::Rtnl rtnl = TRY(in_container ? net::Rtnl::open(container) : net::Rtnl::open());
  master.link = TRY_CONTEXT(name.empty() ? link_of_default_route(rtnl) : rtnl.link(name), "master");
  return master;
}

Result<Inside> create_child(const Call& call, Place place, const Master& master, const ChildWish& wish) {
  const std::string born_as = host_link_name(call.attachment);
  net::Rtnl outside = TRY(net::Rtnl::open());
  TRY(create(master.in_container ? place.rtnl : outside, {.name = born_as,
                                                          .kind = wish.kind,
                                                          .data = wish.data,
                                                          .mac = wish.mac,
                                                          .mtu = wish.mtu,
                                                          .link = master.link.index,
                                                          .netns_fd = place.netns.fd()}));
  return enter(std::move(place), born_as, {.ndisc_notify = true});
}

Status configure_child(const Call& call, Inside& inside, NetResult& result) {
  ContainerLink link = TRY(container_link(inside.link.index, result, Subnet::OnLink));
  link.rename = call.attachment.ifname;
  TRY(configure(inside, link));
  inside.link.name = call.attachment.ifname;
  result.interfaces = {told(inside, call.netns)};
  return {};
}

Status remove_child(const Call& call, const World& world) {
  TRY(remove_interface(call));
  return has_ipam(call) ? ipam_del(call, world) : Status();
}

}  // namespace fairlead::cni
