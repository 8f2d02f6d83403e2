// ipvlan: a link of the container on one of the host's that shares its MAC. It may stand in a chain: without an IPAM
// plugin of its own it takes the addresses of prevResult, and its only interface as master.
#include <linux/if_link.h>

#include "cni-plugin/child_link.h"
#include "cni-plugin/delegate.h"
#include "cni-plugin/host_link.h"
#include "cni-plugin/interface_config.h"
#include "cni-plugin/ipvlan_config.h"
#include "cni-plugin/link_check.h"
#include "cni-plugin/plugin.h"

namespace fairlead::cni {
namespace {

using base::cat;

struct ModeName {
  std::string_view name;
  std::uint16_t mode;
};
constexpr ModeName kModes[] = {{"l2", IPVLAN_MODE_L2}, {"l3", IPVLAN_MODE_L3}, {"l3s", IPVLAN_MODE_L3S}};

Result<std::uint16_t> read_mode(const Fields& config) {
  const std::string name = TRY(config.text("mode")).value_or("");
  if (name.empty()) return std::uint16_t{IPVLAN_MODE_L2};
  for (const ModeName& known : kModes) {
    if (known.name == name) return known.mode;
  }
  return config.error("mode", cat("\"", name, "\" is unknown; allowed is \"l2\", \"l3\" or \"l3s\""));
}

Result<NetResult> add(const Call& call, const World& world) {
  Place place = TRY(free_place(call));
  const IpvlanConfig config = TRY(parse_ipvlan_config(call));
  const Master master = TRY(find_master(place.netns, config.master, config.in_container));
  Inside inside = TRY(
      create_child(call, std::move(place), master, {.kind = "ipvlan", .data = ipvlan_data(config), .mtu = config.mtu}));
  const bool chained = !has_ipam(call) && call.previous && !call.previous->ips.empty();
  NetResult result = TRY(chained ? Result<NetResult>(*call.previous) : addresses_of(call, world, 0));
  for (IpConfig& ip : result.ips) ip.interface = 0;
  TRY(configure_child(call, inside, result));
  const Fields fields = TRY(Fields::of(call.config));
  TRY(override_dns(fields, result));
  return result;
}

Status check(const Call& call, const World& world) {
  const IpvlanConfig config = TRY(parse_ipvlan_config(call));
  if (has_ipam(call)) TRY(ipam_check(call, world));
  const Inside inside = TRY(check_inside(call, "ipvlan"));
  const auto mode = child_number<std::uint16_t>(inside.link, IFLA_IPVLAN_MODE);
  if (mode != config.mode) return Error(cat(inside.link.name, " has mode ", mode, ", not ", config.mode));
  return {};
}

}  // namespace

Result<IpvlanConfig> parse_ipvlan_config(const Call& call) {
  const Fields config = TRY(Fields::of(call.config));
  IpvlanConfig out;
  out.mode = TRY(read_mode(config));
  out.mtu = TRY(read_mtu(config));
  out.in_container = TRY(config.boolean("linkInContainer")).value_or(false);
  out.master = TRY(config.text("master")).value_or("");
  if (!out.master.empty() || !call.previous || call.verb != Verb::Add) return out;
  const auto& interfaces = call.previous->interfaces;
  if (interfaces.size() != 1 || interfaces.front().name.empty())
    return config.error("master", cat("is missing, and prevResult has ", interfaces.size(),
                                      " interfaces instead of one that could be it"));
  out.master = interfaces.front().name;
  return out;
}

std::string ipvlan_data(const IpvlanConfig& config) {
  return net::NetlinkMessage::attributes([&](net::NetlinkMessage& data) { data.value(IFLA_IPVLAN_MODE, config.mode); });
}

const Plugin kIpvlan{.name = "ipvlan",
                     .oldest_version = kVersions[0],
                     .about = "a link that shares the MAC of one of the host's",
                     .has_ipam = true,
                     .add = add,
                     .del = remove_child,
                     .check = check};

}  // namespace fairlead::cni
