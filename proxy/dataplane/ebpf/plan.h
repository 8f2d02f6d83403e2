// plan: what one Service wants of the eBPF maps. Pure.
//
// A Claim is one row of "frontends" without its place in "slots"; frontends that send to the same endpoints share one
// Pool object, and later one extent of slots. Beside the frontends of the model stands a claim per ClusterIP, for all
// the ports of it that no service has.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "proxy/dataplane/ebpf/layout.h"
#include "proxy/model/node.h"
#include "proxy/model/service_state.h"

namespace fairlead::proxy::dataplane::ebpf {

// A slot before it has a generation.
struct Target {
  bpf::addr16 addr;
  std::uint16_t port_be;
  std::uint16_t flags;  // bpf::SLOT_*
  bool operator==(const Target&) const = default;
};

// Those that take new clients, then those with bpf::SLOT_KEPT; each run sorted by address and port.
using Pool = std::vector<Target>;
using PoolPtr = std::shared_ptr<const Pool>;  // never null
using Sources = std::vector<net::Prefix>;     // sorted

std::uint32_t count_new(const Pool& pool);  // targets that take new clients

struct Claim {
  bpf::frontend_key key;
  std::uint32_t flags = 0;  // bpf::FRONTEND_*
  PoolPtr pool;
  PoolPtr cluster;  // with FRONTEND_SHORT_CIRCUIT, else empty
  std::uint32_t affinity_seconds = 0;
  bpf::frontend_key affinity{};              // with FRONTEND_AFFINITY, else zero
  std::shared_ptr<const Sources> sources{};  // null: not restricted
};

// The row that says "this address is a ClusterIP".
bool is_address_key(const bpf::frontend_key& key);

// Sorted by key, one claim per key (the first frontend of the model's order wins).
std::vector<Claim> plan(const model::ServiceState& service);

// The rows of every map that these services and this node put there, one a line, for people and golden files. Extents
// are named by their content, since where they lie depends on what was there before.
std::string plan_text(const model::NodeState& node, const std::vector<model::ServiceState>& services);

}  // namespace fairlead::proxy::dataplane::ebpf
