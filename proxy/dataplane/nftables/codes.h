// Codes: what a frontend's element in `services`, `nodeports` or `externals` says about its new connections, in 32
// bits, and the chain that does it. Pure; layout.md explains both.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fairlead::proxy::dataplane::nftables {

inline constexpr std::uint32_t kMasquerade = 0x01000000;  // everybody
inline constexpr std::uint32_t kNodePort = 0x02000000;    // the maps' address is 0
inline constexpr std::uint32_t kOffCluster = 0x04000000;  // masquerade everybody but pods
inline constexpr std::uint32_t kShort = 0x08000000;       // pods and this node as told; for others see `externals`
inline constexpr std::uint32_t kLocal = 0x20000000;       // from the endpoints of Pool::Local
inline constexpr std::uint32_t kSticky = 0x40000000;      // with affinity; the argument is its time in seconds
inline constexpr std::uint32_t kPick = 0x80000000;        // not a frontend's: picks one member of a sticky pool
inline constexpr std::uint32_t kReject = 0x10000000;
inline constexpr std::uint32_t kDrop = 0x11000000;
inline constexpr std::uint32_t kArgument = 0x00ffffff;  // else: how many endpoints

bool balances(std::uint32_t code);
// How many endpoints of its own a frontend with this code has; 0 for one that refuses or sticks.
std::uint32_t slots_of(std::uint32_t code);
// "n3", "n3_masq_nodeport", "t10800_short", "c3" (kPick).
std::string chain_of(std::uint32_t code);
std::optional<std::uint32_t> code_of_chain(const std::string& chain);
std::string describe_code(std::uint32_t code);  // "goto n3", "reject", "drop"

// Stickiness. A group is who shares it: one port of one service in one family. 32 bits name a group, one of its pools,
// or a member of that pool: 17 bits group, 1 bit pool, 14 bits number. A member has one number in both pools.
inline constexpr std::uint32_t kGroupShift = 15;
inline constexpr std::uint32_t kLastGroup = (1U << 17) - 1;  // the first is 1
inline constexpr std::uint32_t kGroupMask = ~((1U << kGroupShift) - 1);
inline constexpr std::uint32_t kLocalPool = 1U << 14;
inline constexpr std::uint32_t kNumber = kLocalPool - 1;  // the first is 1
// The same on every machine and in every build: numbers come from names, and a restart should find the same ones.
std::uint32_t stable_hash(std::string_view text);
inline constexpr std::uint32_t pool_of(std::uint32_t group, bool local) { return group | (local ? kLocalPool : 0); }

}  // namespace fairlead::proxy::dataplane::nftables
