#include "cni-plugin/bridge_vlan.h"

#include <net/if.h>

#include <cerrno>

#include "base/strings.h"
#include "cni-plugin/marks.h"

namespace fairlead::cni {

using base::cat;

std::vector<net::NetlinkMessage> port_vlan_messages(std::uint32_t port, const net::BridgeSettings& bridge,
                                                    const BridgeConfig& config) {
  std::vector<net::NetlinkMessage> messages;
  if (!config.filters_vlans()) return messages;
  if (!config.preserve_default_vlan && bridge.default_pvid != 0)
    messages.push_back(net::delete_port_vlan(port, bridge.default_pvid));
  // A trunk without a VLAN of its own carries untagged frames as VLAN 1, as the reference plugin has it.
  messages.push_back(net::add_port_vlans(port, config.vlan == 0 ? std::uint16_t{1} : config.vlan, config.trunk));
  return messages;
}

Result<net::LinkInfo> ensure_vlan_gateway(net::Rtnl& host, const net::LinkInfo& bridge, const BridgeConfig& config) {
  const std::string name = cat(bridge.name, ".", config.vlan);
  auto found = TRY(host.find_link(name));
  // Set up last: whole when up, and else the rest of an ADD that was cut off, or of another that is under way.
  if (found && (found->flags & IFF_UP) != 0) return *std::move(found);
  const std::string port = cat("veth", std::string_view(digest(name)).substr(0, 11));
  if (!found) {
    const auto made = host.order(net::create_veth({.name = port,
                                                   .alias = cat("fairlead:vlan:", name),
                                                   .mtu = bridge.mtu,
                                                   .master = bridge.index,
                                                   .peer_name = name}));
    // Another ADD may have come first.
    if (!made && made.error().errno_value() != EEXIST) return made.error().with_context(cat("create ", name));
  }
  std::vector<net::NetlinkMessage> messages;
  if (const auto ours = TRY(host.find_link(port))) {  // there is none to a link that somebody else named so
    BridgeConfig access;
    access.vlan = config.vlan;
    access.preserve_default_vlan = config.preserve_default_vlan;
    messages = port_vlan_messages(ours->index, net::parse_bridge(bridge.kind_data), access);
  }
  messages.push_back(net::change_link({.up = true, .name = name}));
  TRY_CONTEXT(host.order(messages), cat("set up ", name));
  return host.link(name);
}

}  // namespace fairlead::cni
