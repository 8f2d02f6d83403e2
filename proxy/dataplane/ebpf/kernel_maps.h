// KernelMaps: the Maps seam over descriptors of the real maps. Borrows them.
#pragma once

#include "proxy/dataplane/ebpf/maps.h"

namespace fairlead::proxy::dataplane::ebpf {

class KernelMaps final : public Maps {
 public:
  // REQUIRES all to outlive this; `slot_capacity` is max_entries of the map.
  KernelMaps(int frontends_fd, int slots_fd, int sources_fd, std::uint32_t slot_capacity)
      : frontends_(frontends_fd), slots_(slots_fd), sources_(sources_fd), slot_capacity_(slot_capacity) {}

  std::uint32_t slot_capacity() const override { return slot_capacity_; }
  Result<std::vector<FrontendRow>> read_frontends() override;
  Result<std::vector<SourceRow>> read_sources() override;
  Status read_slots(const std::function<void(std::span<const bpf::slot>)>& visit) override;
  Written write_slots(std::span<const std::uint32_t> indexes, std::span<const bpf::slot> slots) override;
  Written write_frontends(std::span<const bpf::frontend> rows) override;
  Written delete_frontends(std::span<const bpf::frontend_key> keys) override;
  Written write_sources(std::span<const SourceRow> rows) override;
  Written delete_sources(std::span<const SourceRow> rows) override;
  Status wait_for_readers() override;

 private:
  int frontends_;
  int slots_;
  int sources_;
  std::uint32_t slot_capacity_;
};

}  // namespace fairlead::proxy::dataplane::ebpf
