// message: ctnetlink messages from and to plain structs (linux v6.1 net/netfilter/nf_conntrack_netlink.c).
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "net/conntrack/kernel.h"

namespace fairlead::net::conntrack {

inline constexpr std::size_t kMaxMessage = 512;  // bytes; of every request below

// Each appends one request. `flags` are added to NLM_F_REQUEST.
void append_list(const Question& question, std::uint32_t sequence, std::vector<std::uint8_t>& out);
void append_erase(const Entry& entry, std::uint16_t flags, std::uint32_t sequence, std::vector<std::uint8_t>& out);
// A connection that no packet made, for tests. `timeout` in seconds.
void append_create(const Entry& entry, std::uint32_t timeout, std::uint16_t flags, std::uint32_t sequence,
                   std::vector<std::uint8_t>& out);

// nullopt: not an entry of IPv4 or IPv6.
std::optional<Entry> decode(const nlmsghdr* message);
// Whether an entry is among those asked for; kernels before 5.8 know no filter and send the whole family.
bool matches(const Question& question, const Entry& entry);

}  // namespace fairlead::net::conntrack
