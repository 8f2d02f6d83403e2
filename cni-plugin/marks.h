// Names and marks made from an attachment, by which a later process finds what an earlier one left in the kernel.
#pragma once

#include <string>
#include <string_view>

#include "cni-plugin/call.h"

namespace fairlead::cni {

// 16 hex digits (FNV-1a, 64 bits) of the three parts; the same for ever.
std::string digest(const Attachment& attachment);
std::string digest(std::string_view text);

// The link alias (IFLA_IFALIAS) of everything on the host that belongs to it:
// "fairlead:<digest>:<network>:<id>:<ifname>", cut to 255 bytes. The digest decides, the rest is for people.
std::string link_alias(const Attachment& attachment);

// Host end of its veth: "veth" and 11 hex digits; `attempt` above 0 for another one where that name is taken by
// somebody else.
std::string host_link_name(const Attachment& attachment, unsigned attempt = 0);

// In the user data of its nft elements: "<digest>".
inline std::string element_mark(const Attachment& attachment) { return digest(attachment); }

}  // namespace fairlead::cni
