// macspoofchk of the bridge plugin: a veth's far end may only send from its own link address. In nftables' bridge
// family, before anything else sees the frame.
#pragma once

#include <array>
#include <string>

#include "cni-plugin/call.h"
#include "cni-plugin/tables.h"
#include "net/rtnl.h"

namespace fairlead::cni {

// `host_link` is the veth's end in the bridge.
Claims spoof_claims(const std::string& host_link, const net::Mac& mac);

Status add_spoof_check(const Call& call, const std::string& host_link, const net::Mac& mac);
Status del_spoof_check(const Call& call);
Status check_spoof_check(const Call& call, const std::string& host_link, const net::Mac& mac);

}  // namespace fairlead::cni
