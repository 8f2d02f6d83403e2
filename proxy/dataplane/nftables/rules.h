// The rules of our chains, expression by expression. Pure; layout.md lists them as `nft` prints them.
#pragma once

#include <string>
#include <vector>

#include "net/nft/types.h"
#include "proxy/dataplane/nftables/layout.h"

namespace fairlead::proxy::dataplane::nftables {

std::vector<nft::Chain> fixed_chains();
std::vector<nft::Rule> fixed_rules(net::Family family, const Settings& settings);

// Chains whose rules say what the NodeState says, all of them there in every table.
std::vector<std::string> node_chains();
std::vector<nft::Rule> node_rules(net::Family family, const Settings& settings, const model::NodeState& node);

std::vector<nft::Rule> code_rules(net::Family family, std::uint32_t code, const Settings& settings,
                                  const model::NodeState& node);
inline bool depends_on_node(std::uint32_t code) { return (code & kShort) != 0 && (code & kPick) == 0; }

const char* restricted_chain(bool node_port);
nft::Rule length_rule(net::Family family, const RangeLength& length);
// Where the filter hooks send packets that stayed at a frontend whose code short-circuits.
const char* refused_externals_chain(bool node_port);

// Those of one family; the one that takes in all of it stands for all.
std::vector<net::Prefix> node_port_addresses(net::Family family, const model::NodeState& node);

}  // namespace fairlead::proxy::dataplane::nftables
