// plan: what one Service wants of the eBPF maps. Pure.
//
// A Claim is one row of "frontends" without its place in "slots"; frontends that send to the same endpoints share one
// Pool object, and later one extent of slots.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "proxy/dataplane/ebpf/layout.h"
#include "proxy/model/service_state.h"

namespace fairlead::proxy::dataplane::ebpf {

// A slot before it has a generation.
struct Target {
  bpf::addr16 addr;
  std::uint16_t port_be;
  std::uint16_t flags;  // bpf::SLOT_*
  bool operator==(const Target&) const = default;
};

using Pool = std::vector<Target>;
using PoolPtr = std::shared_ptr<const Pool>;  // never null

struct Claim {
  bpf::frontend_key key;
  std::uint32_t flags = 0;  // bpf::FRONTEND_*
  PoolPtr pool;
};

// Sorted by key, one claim per key (the first frontend of the model's order wins).
std::vector<Claim> plan(const model::ServiceState& service);

}  // namespace fairlead::proxy::dataplane::ebpf
