// KernelState: what a dataplane has put into a node's kernel for the services, in a form that does not tell how it got
// there: two agents with the same cluster have the same one, whatever they went through.
//
// Left out: what traffic writes (flows, affinity, counters) and what is no service's (programs, versions).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "tests/datapath/testbed.h"

namespace fairlead::tests::chaos {

struct KernelState {
  std::vector<std::string> lines;  // sorted
  std::vector<std::string>
      lingering;  // sorted; what may stay after its last use, such as the chain of an endpoint count
};

// What tells them apart, one line each, "only here: ..." or "only in the fresh one: ..."; empty when they are alike.
std::vector<std::string> differences(const KernelState& soaked, const KernelState& fresh);

Result<KernelState> kernel_state(const std::string& dataplane, testbed::Testbed& bed, unsigned node);

// One per dataplane.
Result<KernelState> nftables_state(testbed::Testbed& bed, unsigned node);
Result<KernelState> iptables_state(testbed::Testbed& bed, unsigned node);
Result<KernelState> ebpf_state(testbed::Testbed& bed, unsigned node);
// Of iptables-save: chains and rules without counters and comments of time, each rule with its chain and position.
std::vector<std::string> iptables_lines(std::string_view saved);

std::string hex(const void* data, std::size_t size);

}  // namespace fairlead::tests::chaos
