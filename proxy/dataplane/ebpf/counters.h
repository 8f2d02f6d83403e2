// counters: what the BPF programs count, by name, summed over CPUs since the install.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "bpf/maps.h"
#include "proxy/dataplane/dataplane.h"

namespace fairlead::proxy::dataplane::ebpf {

// In the order of bpf::counter.
inline constexpr std::array<std::string_view, bpf::COUNTERS> kCounterNames{
    "socket_translated", "socket_rejected", "lookups_retried", "lookups_given_up",    "flows_created",
    "flows_restored",    "flows_no_port",   "packets_forward", "packets_reverse",     "packets_rejected",
    "packets_dropped",   "icmp_translated", "unknown_port",    "packets_unallocated", "packets_source_denied",
    "affinity_kept",     "udp_moved",       "packets_failed",
};
static_assert(!kCounterNames.back().empty());

// Reads the pinned map; an Error when nothing is installed.
Result<std::vector<std::pair<std::string_view, std::uint64_t>>> read_counters(const Options& options);

}  // namespace fairlead::proxy::dataplane::ebpf
