// The rules of layout.h's forward_rules() in iptables-legacy's filter table, where this network namespace has one
// (docs/adr/0021). What its FORWARD chain drops, no nftables of ours can let through either.
#pragma once

#include <string>

#include "base/result.h"
#include "net/ip.h"
#include "net/xtables/table.h"

namespace fairlead::cni {

// Whether anything was missing of `table`, and is there now.
bool add_forward_rules(net::xtables::Table& table, const std::string& admin_chain);

Status open_legacy_forward(net::Family family, const std::string& admin_chain);
// An Error when a rule is missing.
Status check_legacy_forward(net::Family family, const std::string& admin_chain);

}  // namespace fairlead::cni
