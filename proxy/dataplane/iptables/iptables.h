// The iptables dataplane: kube-proxy's chains, with look-up trees instead of one list of all services, written by
// iptables-restore in the flavour the node uses; layout.md has the chains, their cost and the reasons. One thread, and
// the network namespace that thread was in at open().
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "proxy/dataplane/dataplane.h"
#include "proxy/dataplane/iptables/plan.h"
#include "proxy/dataplane/iptables/system.h"

namespace fairlead::proxy::dataplane::iptables {

// Has iptables-restore read all the layout uses without putting it in force.
Probe probe(const Options& options);
Result<std::unique_ptr<Dataplane>> open(const Options& options);
// Whether chains are there that only this dataplane makes, in either flavour; kube-proxy's are not.
bool has_traces(const Options& options);
// Takes out every chain of ours, and those of kube-proxy that have the same names, in both flavours.
Status remove(const Options& options);

// The same over any system: for tests.
Probe probe_on(System& system, const Options& options);
Result<std::unique_ptr<Dataplane>> make(std::unique_ptr<System> system, std::unique_ptr<base::Clock> clock,
                                        const Options& options);
bool has_traces_on(System& system);
Status remove_on(System& system);

// All that iptables-restore would be given for empty tables, IPv4 and then IPv6.
std::string plan_text(const model::NodeState& node, const std::vector<model::ServiceState>& services);

}  // namespace fairlead::proxy::dataplane::iptables
