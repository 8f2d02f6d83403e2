// macvlan: a link of the container with a MAC of its own on one of the host's.
#include <linux/if_link.h>

#include "cni-plugin/child_link.h"
#include "cni-plugin/delegate.h"
#include "cni-plugin/host_link.h"
#include "cni-plugin/interface_config.h"
#include "cni-plugin/link_check.h"
#include "cni-plugin/plugin.h"

#ifndef IFLA_MACVLAN_BC_QUEUE_LEN  // linux v5.11
#define IFLA_MACVLAN_BC_QUEUE_LEN 7
#endif

namespace fairlead::cni {
namespace {

using base::cat;

struct MacvlanConfig {
  std::string master;  // empty: the default route's
  std::uint32_t mode = MACVLAN_MODE_BRIDGE;
  std::uint32_t mtu = 0;
  std::optional<net::Mac> mac;
  bool in_container = false;
  std::uint32_t broadcast_queue = 0;  // 0: the kernel's
};

struct ModeName {
  std::string_view name;
  std::uint32_t mode;
};
constexpr ModeName kModes[] = {{"bridge", MACVLAN_MODE_BRIDGE},
                               {"private", MACVLAN_MODE_PRIVATE},
                               {"vepa", MACVLAN_MODE_VEPA},
                               {"passthru", MACVLAN_MODE_PASSTHRU}};

Result<std::uint32_t> read_mode(const Fields& config) {
  const std::string name = TRY(config.text("mode")).value_or("");
  if (name.empty()) return std::uint32_t{MACVLAN_MODE_BRIDGE};
  for (const ModeName& known : kModes) {
    if (known.name == name) return known.mode;
  }
  return config.error("mode",
                      cat("\"", name, "\" is unknown; allowed is \"bridge\", \"private\", \"vepa\" or \"passthru\""));
}

Result<MacvlanConfig> read_config(const Call& call) {
  const Fields config = TRY(Fields::of(call.config));
  MacvlanConfig out;
  out.master = TRY(config.text("master")).value_or("");
  out.mode = TRY(read_mode(config));
  out.mtu = TRY(read_mtu(config));
  const auto mac = TRY(config.text("mac"));
  out.mac = TRY(requested_mac(call, config, mac));
  out.in_container = TRY(config.boolean("linkInContainer")).value_or(false);
  out.broadcast_queue = static_cast<std::uint32_t>(TRY(config.integer("bcqueuelen", 0, 0xffffffff)).value_or(0));
  return out;
}

std::string kind_data(const MacvlanConfig& config) {
  return net::NetlinkMessage::attributes([&](net::NetlinkMessage& data) {
    data.value(IFLA_MACVLAN_MODE, config.mode);
    if (config.broadcast_queue != 0) data.value(IFLA_MACVLAN_BC_QUEUE_LEN, config.broadcast_queue);
  });
}

Result<NetResult> add(const Call& call, const World& world) {
  Place place = TRY(free_place(call));
  const MacvlanConfig config = TRY(read_config(call));
  const Fields fields = TRY(Fields::of(call.config));
  const Master master = TRY(find_master(place.netns, config.master, config.in_container));
  if (config.mtu > master.link.mtu)
    return fields.error("mtu", cat(config.mtu, " is more than that of ", master.link.name, " (", master.link.mtu, ")"));
  Inside inside =
      TRY(create_child(call, std::move(place), master,
                       {.kind = "macvlan", .data = kind_data(config), .mtu = config.mtu, .mac = config.mac}));
  NetResult result;
  if (has_ipam(call)) result = TRY(addresses_of(call, world, 0));
  TRY(configure_child(call, inside, result));
  TRY(override_dns(fields, result));
  return result;
}

Status check(const Call& call, const World& world) {
  const MacvlanConfig config = TRY(read_config(call));
  if (has_ipam(call)) TRY(ipam_check(call, world));
  const Inside inside = TRY(check_inside(call, "macvlan"));
  TRY(find_master(inside.netns, config.master, config.in_container));
  const auto mode = child_number<std::uint32_t>(inside.link, IFLA_MACVLAN_MODE);
  if (mode != config.mode) return Error(cat(inside.link.name, " has mode ", mode, ", not ", config.mode));
  return {};
}

}  // namespace

const Plugin kMacvlan{.name = "macvlan",
                      .oldest_version = kVersions[0],
                      .about = "a link with a MAC of its own on one of the host's",
                      .has_ipam = true,
                      .add = add,
                      .del = remove_child,
                      .check = check};

}  // namespace fairlead::cni
