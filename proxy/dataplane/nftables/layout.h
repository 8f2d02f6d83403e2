// The shape of our table in the kernel: names, codes, element bytes and the fixed rules. Pure; layout.md explains it.
//
// A frontend's element in `services` or `nodeports` holds a code: what to do with its new connections. Codes that
// balance name a chain through the verdict map `dispatch`, one chain per endpoint count and flag set; codes that
// refuse do so through `refuse`. Codes are data, not verdicts, because the kernel walks every element of a verdict map
// to look for loops whenever one of them changes (linux v6.1 net/netfilter/nf_tables_api.c nft_table_validate).
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "net/nft/kernel.h"
#include "proxy/dataplane/nftables/plan.h"

namespace fairlead::proxy::dataplane::nftables {

namespace nft = net::nft;

// Raise it whenever a rule, chain or set below changes: the next start then rebuilds the table.
inline constexpr std::uint32_t kLayoutVersion = 1;

enum class SetId : std::uint8_t { Services, NodePorts, Endpoints, Hairpin };
inline constexpr SetId kElementSets[] = {SetId::Services, SetId::NodePorts, SetId::Endpoints, SetId::Hairpin};
const char* name_of(SetId set);

// The whole table without services, and the chain of one balancing code.
nft::Batch create_table(const nft::TableId& table, std::uint32_t mark);
void add_code(nft::Batch& batch, const nft::TableId& table, std::uint32_t code, std::uint32_t mark);

// What stands in the kernel, held against create_table() and add_code(): the codes it has, or why it is not ours.
struct Inspection {
  std::set<std::uint32_t> codes;
  std::string mismatch;  // empty: in order
};
Inspection inspect(const nft::TableDump& dump, const std::vector<nft::VerdictElement>& dispatch,
                   const std::vector<nft::VerdictElement>& refuse, const nft::TableId& table, std::uint32_t mark);

// Elements. The ones to delete carry the key alone.
nft::Element frontend_element(const FrontendKey& frontend, std::optional<std::uint32_t> code);
nft::Element endpoint_element(const FrontendKey& frontend, std::uint32_t index, const Slot* slot);
nft::Element hairpin_element(const net::Ip& address);

// And back. Nothing when the bytes are not of the form above.
struct ParsedEndpoint {
  FrontendKey frontend;
  std::uint32_t index = 0;
  Slot slot;  // empty when the element had no data
};
std::optional<FrontendKey> parse_frontend(net::Family family, SetId set, const nft::Element& element);
std::uint32_t parse_code(const nft::Element& element);
std::optional<ParsedEndpoint> parse_endpoint(net::Family family, const nft::Element& element);
std::optional<net::Ip> parse_hairpin(net::Family family, const nft::Element& element);

}  // namespace fairlead::proxy::dataplane::nftables
