// node: the rows of node_plan.h in the kernel. Compared with the maps each time, so that equal state writes nothing.
#pragma once

#include "proxy/dataplane/dataplane.h"
#include "proxy/dataplane/ebpf/node_plan.h"

namespace fairlead::proxy::dataplane::ebpf {

NodeFacts read_node_facts();  // of the calling thread's network namespace

struct NodeMaps {  // descriptors
  int addresses = -1;
  int bridge_ports = -1;
  int pod_interfaces = -1;
  int networks = -1;
  int config = -1;
};
// What `between` minds: pod interfaces and networks.
NodeRows read_node(const NodeMaps& maps);
// What cannot be written is a failure of that map ("map node_addresses"), not of the services.
void write_node(const NodeRows& want, const NodeMaps& maps, Report& report);

}  // namespace fairlead::proxy::dataplane::ebpf
