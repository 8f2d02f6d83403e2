#include "cni-plugin/bridge_config.h"

#include <algorithm>

#include "base/strings.h"
#include "cni-plugin/delegate.h"
#include "cni-plugin/interface_config.h"

namespace fairlead::cni {
namespace {

using base::cat;

constexpr std::int64_t kMostVlan = 4094;  // IEEE 802.1Q: 4095 is reserved

// One member of `vlanTrunk`: {minID, maxID}, {id}, or both.
Status read_trunk_entry(const Fields& entry, std::vector<net::VlanRange>& ranges) {
  const auto least = TRY(entry.integer("minID", 1, kMostVlan));
  const auto most = TRY(entry.integer("maxID", 1, kMostVlan));
  const auto id = TRY(entry.integer("id", 1, kMostVlan));
  if (least.has_value() != most.has_value())
    return entry.error(least ? "maxID" : "minID", cat("is missing beside ", least ? "minID" : "maxID"));
  if (least && *least > *most) return entry.error("minID", cat(*least, " is greater than maxID (", *most, ")"));
  if (least) ranges.push_back({static_cast<std::uint16_t>(*least), static_cast<std::uint16_t>(*most)});
  if (id) ranges.push_back({static_cast<std::uint16_t>(*id), static_cast<std::uint16_t>(*id)});
  return {};
}

Result<std::vector<net::VlanRange>> read_trunk(const Fields& config) {
  std::vector<net::VlanRange> ranges;
  for (const Fields& entry : TRY(config.objects("vlanTrunk"))) TRY(read_trunk_entry(entry, ranges));
  std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<net::VlanRange> merged;
  for (const net::VlanRange& range : ranges) {
    if (merged.empty() || range.first > merged.back().last + 1) {
      merged.push_back(range);
    } else {
      merged.back().last = std::max(merged.back().last, range.last);
    }
  }
  return merged;
}

}  // namespace

Result<BridgeConfig> parse_bridge_config(const Call& call) {
  const Fields config = TRY(Fields::of(call.config));
  const auto flag = [&](std::string_view key, bool otherwise) -> Result<bool> {
    return TRY(config.boolean(key)).value_or(otherwise);
  };
  BridgeConfig out;
  if (const auto name = TRY(config.text("bridge")); name && !name->empty()) out.bridge = *name;
  if (out.bridge.size() > 15) return config.error("bridge", cat("\"", out.bridge, "\" is longer than 15 bytes"));
  out.is_default_gateway = TRY(flag("isDefaultGateway", false));
  out.is_gateway = TRY(flag("isGateway", false)) || out.is_default_gateway;
  out.force_address = TRY(flag("forceAddress", false));
  out.masquerade = TRY(read_masquerade(config));
  out.mtu = TRY(read_mtu(config));
  out.hairpin = TRY(flag("hairpinMode", false));
  out.promiscuous = TRY(flag("promiscMode", false));
  out.vlan = static_cast<std::uint16_t>(TRY(config.integer("vlan", 0, kMostVlan)).value_or(0));
  out.trunk = TRY(read_trunk(config));
  out.preserve_default_vlan = TRY(flag("preserveDefaultVlan", true));
  out.mac_spoof_check = TRY(flag("macspoofchk", false));
  out.detect_duplicates = TRY(flag("enabledad", false));
  out.disable_container_interface = TRY(flag("disableContainerInterface", false));
  out.port_isolation = TRY(flag("portIsolation", false));
  out.mac = TRY(requested_mac(call, config));
  if (out.hairpin && out.promiscuous)
    return config.error("promiscMode", "cannot be set together with hairpinMode: each does the other's work");
  if (out.disable_container_interface && has_ipam(call))
    return config.error("disableContainerInterface",
                        "cannot be set together with ipam: a link that is down has no use for addresses");
  return out;
}

}  // namespace fairlead::cni
