#include "proxy/dataplane/ebpf/counters.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>

#include "base/fd.h"
#include "base/strings.h"

namespace fairlead::proxy::dataplane::ebpf {

Result<std::vector<std::pair<std::string_view, std::uint64_t>>> read_counters(const Options& options) {
  const std::string pin =
      base::cat(options.bpf_root, "/", options.instance, "/v", static_cast<int>(bpf::LAYOUT_VERSION), "/counters");
  const base::Fd map(::bpf_obj_get(pin.c_str()));
  if (!map) return Error::from_errno(base::cat("open ", pin), errno);
  const int cpus = ::libbpf_num_possible_cpus();
  if (cpus < 0) return Error::from_errno("count the CPUs", -cpus);
  std::vector<std::pair<std::string_view, std::uint64_t>> out;
  std::vector<std::uint64_t> values(static_cast<std::size_t>(cpus));
  for (std::uint32_t i = 0; i < bpf::COUNTERS; ++i) {
    if (const int rc = ::bpf_map_lookup_elem(map.get(), &i, values.data()); rc < 0) {
      return Error::from_errno("read the counters", -rc);
    }
    std::uint64_t sum = 0;
    for (const std::uint64_t value : values) sum += value;
    out.emplace_back(kCounterNames[i], sum);
  }
  return out;
}

}  // namespace fairlead::proxy::dataplane::ebpf
