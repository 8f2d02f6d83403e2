// flows: the connection table of the tc programs, as far as the agent minds it: UDP flows whose endpoint is gone are
// cut, because nothing else would end them while their client goes on sending.
#pragma once

#include "proxy/dataplane/dataplane.h"
#include "proxy/dataplane/ebpf/publisher.h"

namespace fairlead::proxy::dataplane::ebpf {

// Deletes both rows of each UDP flow that may not stay with its endpoint. One pass in batches: 131,072 rows take some
// 20 ms, and what it deletes about a microsecond a row. A failure is one of "map flows".
void cut_udp_flows(int flows_fd, const Publisher& publisher, Report& report);

}  // namespace fairlead::proxy::dataplane::ebpf
