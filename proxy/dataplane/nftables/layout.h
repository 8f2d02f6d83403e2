// The shape of our table in the kernel: its sets, chains and rules, and whether a table read back has it. Pure;
// layout.md explains it.
//
// A frontend's element in `services` or `nodeports` holds a code (codes.h): what to do with its new connections. Codes
// that balance name a chain through the verdict map `dispatch`, one chain per code; codes that refuse do so through
// `refuse`. Codes are data, not verdicts, because the kernel walks every element of a verdict map to look for loops
// whenever one of them changes (linux v6.1 net/netfilter/nf_tables_api.c nft_table_validate).
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "net/nft/kernel.h"
#include "proxy/dataplane/nftables/codes.h"
#include "proxy/model/node.h"

namespace fairlead::proxy::dataplane::nftables {

namespace nft = net::nft;

// Raise it whenever a rule, chain or set below changes: the next start then rebuilds the table.
inline constexpr std::uint32_t kLayoutVersion = 2;

// Clients of one family that stick at a time; a client beyond is balanced like a new one each time.
inline constexpr std::uint32_t kStickyClients = 1U << 20;

// Fixed while the table stands; they are in its comment.
struct Settings {
  std::uint32_t mark = 0x4000;  // the bit of packets to masquerade
  bool drop_invalid = true;     // docs/adr/0008
  bool operator==(const Settings&) const = default;
};
std::string table_comment(const Settings& settings);
// And back; nothing when the table is of another layout or another owner.
std::optional<Settings> settings_of(const std::string& table_comment);

// The lengths of allowed source ranges have a rule each, which stays as long as the table, as the chains of codes do.
struct RangeLength {
  bool node_port = false;
  std::uint8_t bits = 0;
  auto operator<=>(const RangeLength&) const = default;
};

// The whole table without services.
nft::Batch create_table(const nft::TableId& table, const Settings& settings, const model::NodeState& node);
// The chain of one code. That of a code with kShort needs the chain of the code without it.
void add_code(nft::Batch& batch, const nft::TableId& table, std::uint32_t code, const Settings& settings,
              const model::NodeState& node);
void add_length(nft::Batch& batch, const nft::TableId& table, const RangeLength& length);
// Writes again every rule that depends on the NodeState; `codes` have their chains.
void change_node(nft::Batch& batch, const nft::TableId& table, const std::set<std::uint32_t>& codes,
                 const Settings& settings, const model::NodeState& node);
// Everything those rules depend on, as text: equal texts, equal rules.
std::string node_text(net::Family family, const model::NodeState& node);

// What stands in the kernel, held against the above.
struct Inspection {
  std::set<std::uint32_t> codes;
  std::set<RangeLength> lengths;
  bool other_node = false;  // change_node() mends it
  std::string mismatch;     // empty: in order otherwise
};
struct Verdicts {
  std::set<nft::VerdictElement> dispatch;
  std::set<nft::VerdictElement> dispatch_local;
  std::set<nft::VerdictElement> picks;
  std::set<nft::VerdictElement> refuse;
};
inline constexpr std::pair<const char*, std::set<nft::VerdictElement> Verdicts::*> kVerdictMaps[] = {
    {"dispatch", &Verdicts::dispatch},
    {"dispatch_local", &Verdicts::dispatch_local},
    {"picks", &Verdicts::picks},
    {"refuse", &Verdicts::refuse}};
Inspection inspect(const nft::TableDump& dump, const Verdicts& verdicts, const nft::TableId& table,
                   const Settings& settings, const model::NodeState& node);

}  // namespace fairlead::proxy::dataplane::nftables
