// The nftables dataplane: one table per family written through libnftnl, one transaction per change; layout.md has the
// tables, their cost and the reasons. One thread, and the network namespace that thread was in at open().
#pragma once

#include <memory>

#include "net/nft/kernel.h"
#include "proxy/dataplane/dataplane.h"

namespace fairlead::proxy::dataplane::nftables {

// Asks the kernel to check the whole layout without putting it in force.
Probe probe(const Options& options);
Result<std::unique_ptr<Dataplane>> open(const Options& options);
// Whether a table of this instance exists, whatever is in it.
bool has_traces(const Options& options);

// The same over any kernel: for tests.
struct Tuning {
  std::size_t chunk = 4000;        // element writes in one transaction of a large sync; layout.md has the measurement
  std::size_t find_above = 50000;  // endpoints; with more of them adoption asks by key instead of dumping
  bool drop_invalid = true;        // docs/adr/0008
};
std::unique_ptr<Dataplane> make(std::unique_ptr<net::nft::Kernel> kernel, const Options& options,
                                const std::vector<net::Family>& families, Tuning tuning = {});
// What a dataplane from open() or make() believes to be in the kernel, one line per element.
std::string dump_text(const Dataplane& dataplane);

}  // namespace fairlead::proxy::dataplane::nftables
