// node: what the programs must know of the node itself: its addresses, its bridge ports, the address it masquerades
// with. Compared with the maps each time, so that equal state writes nothing.
#pragma once

#include <vector>

#include "net/links.h"
#include "proxy/dataplane/dataplane.h"

namespace fairlead::proxy::dataplane::ebpf {

// Interfaces that get the tc programs: those with Ethernet frames, save loopback, and save ports of a bond or team,
// whose packets are seen on the master.
std::vector<net::Link> attachable(const net::Links& links);

// The address of `family` to masquerade with: the one the default route uses, else the first global one of any
// interface; "::" when there is none.
net::Ip masquerade_address(const net::Links& links, net::Family family, const std::optional<net::Ip>& default_source);

struct NodeMaps {  // descriptors
  int addresses = -1;
  int bridge_ports = -1;
  int config = -1;
};
// What cannot be written is a failure of that map ("map node_addresses"), not of the services.
void write_node(const net::Links& links, const NodeMaps& maps, Report& report);

}  // namespace fairlead::proxy::dataplane::ebpf
