// What the kernel says about tables, as plain values. Internal to net/nft.
#pragma once

#include <functional>
#include <optional>

#include "net/nft/types.h"

struct nlmsghdr;

namespace fairlead::net::nft {

// Each takes one message of a dump and adds what it carries.
void decode_table(const nlmsghdr* message, TableDump& into);
void decode_chain(const nlmsghdr* message, const TableId& table, TableDump& into);
void decode_rule(const nlmsghdr* message, const TableId& table, TableDump& into);
void decode_set(const nlmsghdr* message, const TableId& table, TableDump& into);
void decode_elements(const nlmsghdr* message, const std::function<void(const Element&)>& each);
void decode_verdicts(const nlmsghdr* message, const std::function<void(const VerdictElement&)>& each);

std::optional<std::uint32_t> decode_generation(const nlmsghdr* message);
// The table a notification is about; empty for a new generation, which names none.
std::optional<TableId> table_of_notification(const nlmsghdr* message);

}  // namespace fairlead::net::nft
