// node: what the programs must know of the node itself: its addresses, its bridge ports, the address it masquerades
// with. Compared with the maps each time, so that equal state writes nothing.
#pragma once

#include <vector>

#include "net/links.h"
#include "proxy/dataplane/dataplane.h"
#include "proxy/dataplane/ebpf/install.h"

namespace fairlead::proxy::dataplane::ebpf {

// Interfaces that get the tc programs: those with Ethernet frames, save loopback, and save ports of a bond or team,
// whose packets are seen on the master.
std::vector<net::Link> attachable(const net::Links& links);

// The address of `family` to masquerade with: the one the default route uses, else the first global one of any
// interface; "::" when there is none.
net::Ip masquerade_address(const net::Links& links, net::Family family, const std::optional<net::Ip>& default_source);

void write_node(const net::Links& links, const Install& install, Report& report);

}  // namespace fairlead::proxy::dataplane::ebpf
