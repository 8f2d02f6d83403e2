// One table of iptables-legacy (x_tables) as plain chains of rules: read from what the kernel hands out, changed, and
// laid out again (linux v6.1 net/ipv4/netfilter/ip_tables.c, net/ipv6/netfilter/ip6_tables.c). Rules keep their bytes,
// so matches and targets that nobody here knows stay what they are.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/ip.h"

namespace fairlead::net::xtables {

inline constexpr std::size_t kHooks = 5;          // NF_INET_NUMHOOKS
inline constexpr std::size_t kMaxChainName = 28;  // XT_EXTENSION_MAXNAMELEN less a zero

// Where things are in a table's bytes: ipt_getinfo and ipt_replace.
struct Places {
  std::uint32_t valid_hooks = 0;  // bit per hook
  std::array<std::uint32_t, kHooks> hook_entry{}, underflow{};
  bool operator==(const Places&) const = default;
};

struct Rule {
  static constexpr std::uint32_t kNew = std::numeric_limits<std::uint32_t>::max();
  std::string bytes;           // ipt_entry or ip6t_entry with its matches and its target
  std::string jump;            // chain that its target jumps or goes to; empty: the target says it all
  bool falls_through = false;  // no target: on to the next rule
  std::uint32_t was = kNew;    // its number in the table that was read
  // Whether it does and says the same; counters are no part of it.
  bool same(const Rule& other, Family family) const;
};

struct Chain {
  std::string name;                 // of a hook's: "FORWARD"
  std::optional<std::size_t> hook;  // NF_INET_FORWARD is 2
  std::vector<Rule> rules;
  Rule end;  // the policy; a user chain's RETURN
};

struct Table {
  Family family = Family::V4;
  std::vector<Chain> chains;  // those of hooks first
  std::uint32_t rules_read = 0;

  // An Error when the bytes are not a table as the kernel makes one.
  static Result<Table> parse(Family family, const Places& places, std::string_view bytes);

  Chain* find(std::string_view name);
  Chain& find_or_add(const std::string& name);  // a new one is empty
};

struct Image {
  Places places;
  std::string bytes;
  std::vector<std::uint32_t> was;  // of each entry in order: its number before, or Rule::kNew
};
// An Error when a rule jumps to a chain that is not there.
Result<Image> lay_out(const Table& table);

// Rules as iptables writes them. `comment`: at most 255 bytes. `mark`: only packets with this bit.
Rule jump_rule(Family family, const std::string& chain, const std::string& comment);
Rule accept_marked(Family family, std::uint32_t mark, const std::string& comment);

}  // namespace fairlead::net::xtables
