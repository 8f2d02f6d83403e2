#include "net/bridge.h"

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace fairlead::net {
namespace {

ifinfomsg port_header(std::uint32_t port) {
  ifinfomsg header{};
  header.ifi_family = AF_BRIDGE;
  header.ifi_index = static_cast<int>(port);
  return header;
}

void vlan(NetlinkMessage& message, unsigned flags, std::uint16_t id) {
  message.value(IFLA_BRIDGE_VLAN_INFO, bridge_vlan_info{.flags = static_cast<std::uint16_t>(flags), .vid = id});
}

}  // namespace

std::string bridge_data(const BridgeSettings& settings) {
  // Only where it is wanted: a kernel without CONFIG_BRIDGE_VLAN_FILTERING refuses the attribute whatever it says.
  if (!settings.vlan_filtering) return {};
  return NetlinkMessage::attributes([](NetlinkMessage& data) { data.value(IFLA_BR_VLAN_FILTERING, std::uint8_t{1}); });
}

BridgeSettings parse_bridge(std::string_view kind_data) {
  BridgeSettings settings;
  settings.vlan_filtering = netlink_value<std::uint8_t>(netlink_attribute(kind_data, IFLA_BR_VLAN_FILTERING)) != 0;
  const std::string_view pvid = netlink_attribute(kind_data, IFLA_BR_VLAN_DEFAULT_PVID);
  if (!pvid.empty()) settings.default_pvid = netlink_value<std::uint16_t>(pvid);
  return settings;
}

std::string bridge_port_data(const BridgePort& port) {
  return NetlinkMessage::attributes([&](NetlinkMessage& data) {
    data.value(IFLA_BRPORT_MODE, std::uint8_t{port.hairpin}).value(IFLA_BRPORT_ISOLATED, std::uint8_t{port.isolated});
  });
}

BridgePort parse_bridge_port(std::string_view slave_data) {
  return {.hairpin = netlink_value<std::uint8_t>(netlink_attribute(slave_data, IFLA_BRPORT_MODE)) != 0,
          .isolated = netlink_value<std::uint8_t>(netlink_attribute(slave_data, IFLA_BRPORT_ISOLATED)) != 0};
}

NetlinkMessage add_port_vlans(std::uint32_t port, std::uint16_t untagged, const std::vector<VlanRange>& tagged) {
  NetlinkMessage message(RTM_SETLINK, 0);
  message.header(port_header(port)).nest(IFLA_AF_SPEC | NLA_F_NESTED, [&](NetlinkMessage& spec) {
    if (untagged != 0) vlan(spec, BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED, untagged);
    for (const VlanRange& range : tagged) {
      if (range.first == range.last) {
        vlan(spec, 0, range.first);
      } else {
        vlan(spec, BRIDGE_VLAN_INFO_RANGE_BEGIN, range.first);
        vlan(spec, BRIDGE_VLAN_INFO_RANGE_END, range.last);
      }
    }
  });
  return message;
}

NetlinkMessage delete_port_vlan(std::uint32_t port, std::uint16_t id) {
  NetlinkMessage message(RTM_DELLINK, 0);
  message.header(port_header(port)).nest(IFLA_AF_SPEC | NLA_F_NESTED, [&](NetlinkMessage& spec) { vlan(spec, 0, id); });
  return message;
}

}  // namespace fairlead::net
