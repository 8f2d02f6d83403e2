// The table of every dataplane: the one file that knows them all.
#include <sys/stat.h>

#include <cerrno>

#include "proxy/dataplane/ebpf/ebpf.h"
#include "proxy/dataplane/iptables/iptables.h"
#include "proxy/dataplane/nftables/nftables.h"
#include "proxy/dataplane/select.h"

namespace fairlead::proxy::dataplane {
namespace {

// Everything eBPF that lives on is pinned below this folder (ebpf/layout.md).
bool has_pins(const Options& options) {
  struct stat info {};
  return ::stat((options.bpf_root + "/" + options.instance).c_str(), &info) == 0 || errno != ENOENT;
}

Status remove_nftables(const Options& options) {
  const auto dataplane = TRY(nftables::open(options));
  return dataplane->remove();
}

}  // namespace

std::vector<Module> modules() {
  return {
      {.name = "ebpf", .probe = ebpf::probe, .open = ebpf::open, .has_traces = has_pins, .remove = ebpf::remove},
      {.name = "nftables",
       .probe = nftables::probe,
       .open = nftables::open,
       .has_traces = nftables::has_traces,
       .remove = remove_nftables},
      {.name = "iptables",
       .probe = iptables::probe,
       .open = iptables::open,
       .has_traces = iptables::has_traces,
       .remove = iptables::remove},
  };
}

}  // namespace fairlead::proxy::dataplane
