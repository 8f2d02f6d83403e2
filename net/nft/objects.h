// Tables, chains, sets and rules as messages, put together by hand (docs/adr/0016). Internal to net/nft.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "net/netlink_message.h"
#include "net/nft/types.h"

namespace fairlead::net::nft {

NetlinkMessage message_of(const AddTable& command);
NetlinkMessage message_of(const DeleteTable& command);
NetlinkMessage message_of(const AddChain& command);
NetlinkMessage message_of(const AddRule& command);
NetlinkMessage message_of(const FlushChain& command);
// `id` tells the sets of one batch apart.
NetlinkMessage message_of(const AddSet& command, std::uint32_t id);

// Any message about `table`, without its attributes.
NetlinkMessage table_message(std::uint16_t type, std::uint16_t flags, const TableId& table);
std::uint8_t nfproto(const TableId& table);

// nft's comment: type 0 of its type-length-value user data, with the terminating zero; the same number for tables,
// rules and elements. At most 128 bytes (libnftnl include/libnftnl/udata.h).
std::string comment_udata(const std::string& comment);
// Empty when the user data is of another shape.
std::string comment_in(std::string_view udata);

}  // namespace fairlead::net::nft
