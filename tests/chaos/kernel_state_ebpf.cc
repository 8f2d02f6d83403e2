// Reads the pinned maps (ebpf/layout.md). Where an extent lies and which generation it has is history; what its slots
// hold is not, and neither is that each of them carries the generation its frontend names.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

#include "base/strings.h"
#include "bpf/maps.h"
#include "tests/chaos/bpf_map.h"
#include "tests/chaos/kernel_state.h"

namespace fairlead::tests::chaos {
namespace {

using base::cat;

// Written by packets and sockets, or no service's.
const std::set<std::string> kNotServices{"flows", "fragments", "affinity",   "sock_peers", "sock_sent",  "counters",
                                         "build", "slots",     "workspaces", "frontends",  "node_config"};

template <typename T>
T as(const BpfMap::Bytes& bytes) {
  T out{};
  std::memcpy(&out, bytes.data(), std::min(bytes.size(), sizeof out));
  return out;
}

std::string extent_text(const BpfMap& slots, const bpf::extent& extent) {
  std::vector<std::string> endpoints;
  for (std::uint32_t i = 0; i < extent.count + extent.kept; ++i) {
    const std::uint32_t index = extent.base + i;
    BpfMap::Bytes key(sizeof index);
    std::memcpy(key.data(), &index, sizeof index);
    const auto value = slots.find(key);
    const auto slot = value ? as<bpf::slot>(*value) : bpf::slot{};
    if (slot.generation != extent.generation) return "slots of another generation";
    endpoints.push_back(
        cat(hex(&slot.addr, sizeof slot.addr), ":", hex(&slot.port, sizeof slot.port), "/", slot.flags));
  }
  return cat("[", base::join(endpoints, " "), "]");
}

std::string frontend_text(const BpfMap& slots, const bpf::frontend& row) {
  return cat("flags ", row.flags, " affinity ", row.affinity_seconds, " with ", hex(&row.affinity, sizeof row.affinity),
             " pool ", extent_text(slots, row.pool), " cluster ", extent_text(slots, row.cluster),
             row.version == row.version_again ? "" : " torn");
}

}  // namespace

Result<KernelState> ebpf_state(testbed::Testbed& bed, unsigned node) {
  const std::string pins = cat(bed.bpf_root(node), "/fairlead/v", int{bpf::LAYOUT_VERSION});
  KernelState state;
  const BpfMap frontends = TRY(BpfMap::open(pins + "/frontends"));
  const BpfMap slots = TRY(BpfMap::open(pins + "/slots"));
  TRY(frontends.each([&](const BpfMap::Bytes& key, const BpfMap::Bytes& value) {
    state.lines.push_back(
        cat("frontends ", hex(key.data(), key.size()), " ", frontend_text(slots, as<bpf::frontend>(value))));
  }));
  for (const auto& entry : std::filesystem::directory_iterator(pins)) {
    const std::string name = entry.path().filename();
    if (entry.is_directory() || kNotServices.contains(name)) continue;
    const BpfMap map = TRY(BpfMap::open(entry.path()));
    TRY(map.each([&](const BpfMap::Bytes& key, const BpfMap::Bytes& value) {
      state.lines.push_back(cat(name, " ", hex(key.data(), key.size()), " ", hex(value.data(), value.size())));
    }));
  }
  return state;
}

}  // namespace fairlead::tests::chaos
