// The little of IPVS and ipset that removing other people's leftovers needs, in the calling thread's network namespace.
// A kernel without them has nothing to remove: that is no error.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "net/netlink_message.h"

namespace fairlead::net {

// Every virtual service goes (linux v6.1 net/netfilter/ipvs/ip_vs_ctl.c IPVS_CMD_FLUSH).
NetlinkMessage ipvs_flush_message(std::uint16_t genetlink_family);
Status flush_ipvs();

NetlinkMessage ipset_destroy_message(const std::string& name);
Result<std::vector<std::string>> list_ipsets();
Status destroy_ipset(const std::string& name);  // EBUSY while a rule uses it

Status delete_link(const std::string& name);  // no error when there is none

// Whether nftables has it; `chain` empty: the table itself.
Result<bool> nft_has(int address_family, const std::string& table, const std::string& chain = "");

}  // namespace fairlead::net
