// What the configurations of the interface plugins have in common.
#pragma once

#include <optional>
#include <string>

#include "cni-plugin/call.h"
#include "cni-plugin/fields.h"
#include "cni-plugin/plugin.h"
#include "net/rtnl.h"

namespace fairlead::cni {

// The container's MAC: runtimeConfig.mac, else args.cni.mac, else MAC of CNI_ARGS, else `configured`.
Result<std::optional<net::Mac>> requested_mac(const Call& call, const Fields& config,
                                              const std::optional<std::string>& configured = {});

// `mtu`; 0: the kernel's.
Result<std::uint32_t> read_mtu(const Fields& config);

// `ipMasq`. Whatever `ipMasqBackend` says, it is done by nftables (masquerade.h).
Result<bool> read_masquerade(const Fields& config);

// The configuration's `dns` hides the IPAM plugin's as soon as it has any member.
Status override_dns(const Fields& config, NetResult& result);

// What the IPAM plugin gives, its addresses being those of `interface` (an index of the result to be). An Error when it
// gives no address.
Result<NetResult> addresses_of(const Call& call, const World& world, std::uint32_t interface);

}  // namespace fairlead::cni
