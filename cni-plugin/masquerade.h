// ipMasq of the bridge and ptp plugins: what a pod sends out of its subnet, and not to a multicast group, leaves with
// the host's address.
#pragma once

#include <vector>

#include "cni-plugin/call.h"
#include "cni-plugin/fields.h"
#include "cni-plugin/tables.h"

namespace fairlead::cni {

// To be merged with other plugins' into one transaction.
Claims masquerade_claims(const std::vector<IpConfig>& ips);

Status add_masquerade(const Call& call, const std::vector<IpConfig>& ips);
// Finds them by the attachment's mark: neither the link nor its addresses need to be there still.
Status del_masquerade(const Call& call);
Status check_masquerade(const Call& call, const std::vector<IpConfig>& ips);

// ipMasqBackend: any value the reference documents is taken, and means nftables. An Error (code 7) for any other.
Status check_masquerade_backend(const Fields& config);

}  // namespace fairlead::cni
