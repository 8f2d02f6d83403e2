// x_tables of the calling thread's network namespace, by its socket options (linux v6.1
// include/uapi/linux/netfilter_ipv4/ip_tables.h). Nothing here makes a table or loads a module by itself.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "net/xtables/table.h"

namespace fairlead::net::xtables {

// Whether this namespace has that table of iptables-legacy.
bool has_table(Family family, const std::string& name);

Result<Table> read_table(Family family, const std::string& name);

// Reads the table, lets `change` change it and puts it in its place with the counters of the rules that stay, under
// the lock that iptables takes (XTABLES_LOCKFILE or /run/xtables.lock). `change` says whether it changed anything.
Status change_table(Family family, const std::string& name, const std::function<bool(Table&)>& change);

}  // namespace fairlead::net::xtables
