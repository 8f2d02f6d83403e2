// Maps: the seam between the publisher and the kernel's service maps. kernel_maps.h is the real one; tests have one in
// memory that fails or stops at a chosen write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "proxy/dataplane/ebpf/layout.h"

namespace fairlead::proxy::dataplane::ebpf {

// Elements are written in order: the first `count` are in the kernel, the rest are not.
struct Written {
  std::size_t count = 0;
  std::optional<Error> error;  // set when count is short
};

// An element as it stands in the kernel; key and value.key differ only in a damaged map.
struct FrontendRow {
  bpf::frontend_key key;
  bpf::frontend value;
};

// One range of sources that a restricted frontend is for.
struct SourceRow {
  bpf::frontend_key frontend;
  net::Prefix source;
};

class Maps {
 public:
  virtual ~Maps() = default;

  virtual std::uint32_t slot_capacity() const = 0;
  virtual Result<std::vector<FrontendRow>> read_frontends() = 0;
  // Shows all slots; the span is valid during the call only.
  virtual Result<std::vector<SourceRow>> read_sources() = 0;
  virtual Status read_slots(const std::function<void(std::span<const bpf::slot>)>& visit) = 0;

  // REQUIRES indexes and slots of equal length.
  virtual Written write_slots(std::span<const std::uint32_t> indexes, std::span<const bpf::slot> slots) = 0;
  // Each element switches one frontend atomically. The key is value.key.
  virtual Written write_frontends(std::span<const bpf::frontend> rows) = 0;
  virtual Written delete_frontends(std::span<const bpf::frontend_key> keys) = 0;

  virtual Written write_sources(std::span<const SourceRow> rows) = 0;
  virtual Written delete_sources(std::span<const SourceRow> rows) = 0;

  // Returns when every BPF program that ran at the time of the call has ended.
  virtual Status wait_for_readers() = 0;
};

}  // namespace fairlead::proxy::dataplane::ebpf
