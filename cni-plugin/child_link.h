// child_link: what macvlan and ipvlan have in common: a link of the container that stands on one of the host's (or of
// the container's own, with linkInContainer).
#pragma once

#include <optional>
#include <string>

#include "cni-plugin/call.h"
#include "cni-plugin/container_link.h"
#include "cni-plugin/fields.h"
#include "cni-plugin/plugin.h"
#include "net/rtnl.h"

namespace fairlead::cni {

// Where a master is looked for, and found.
struct Master {
  bool in_container = false;  // linkInContainer
  net::LinkInfo link;
};
// `name`; empty: the link of the default route.
Result<Master> find_master(const net::Netns& container, const std::string& name, bool in_container);

struct ChildWish {
  std::string kind;  // "macvlan"
  std::string data;  // IFLA_INFO_DATA
  std::uint32_t mtu = 0;
  std::optional<net::Mac> mac{};
};
// Born under a name of ours: asked for by its own, it would be refused when the host has an interface of that name.
// configure() renames it.
Result<Inside> create_child(const Call& call, Place place, const Master& master, const ChildWish& wish);

// Addresses, routes and name in one write; `result` gets its interface.
Status configure_child(const Call& call, Inside& inside, NetResult& result);

// DEL: the link, then its addresses.
Status remove_child(const Call& call, const World& world);

// A number of IFLA_INFO_DATA.
template <typename Number>
Number child_number(const net::LinkInfo& link, std::uint16_t attribute) {
  return net::netlink_value<Number>(net::netlink_attribute(link.kind_data, attribute));
}

}  // namespace fairlead::cni
