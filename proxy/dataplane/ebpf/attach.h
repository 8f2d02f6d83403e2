// attach: ties programs to cgroups and interfaces. Everything stays when the process goes; `links` is the folder of
// pins that remembers it:
//
//   <links>/tc-<ifindex>-<direction>   tcx (Linux 6.6 and later): the pinned link, and the only reference to it
//   <links>/tc-<ifindex>-clsact/       older kernels: there are filters of ours on the interface's clsact qdisc
//   <links>/tc-<ifindex>-clsact/qdisc/   and we made the qdisc
//
// All calls are idempotent, and swap another program in without a gap. In the calling thread's network namespace.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/links.h"

namespace fairlead::proxy::dataplane::ebpf {

struct Writes {
  std::uint64_t made = 0;     // links and filters that had not been there
  std::uint64_t changed = 0;  // those that were changed or removed
};

struct LinkSpec {
  std::string pin;
  int program = -1;
  int type = 0;              // bpf_attach_type
  std::uint64_t target = 0;  // cgroup id or ifindex
  int target_fd = -1;        // descriptor of the cgroup, or the ifindex
};
// One pinned link: kept when it is as specified, updated in place when it ties another program, made anew when it is
// missing or its target is not ours (a cgroup or interface that was removed).
Status ensure_link(const LinkSpec& spec, Writes& writes);

struct ForgetFailure {
  std::uint32_t ifindex = 0;
  Error error;
};

class Attacher {
 public:
  virtual ~Attacher() = default;
  // ENODEV when there is no such interface.
  virtual Status attach(const net::Link& link, bool ingress, int program, Writes& writes) = 0;
  // Detaches from every other interface; one that is gone is merely forgotten.
  virtual std::vector<ForgetFailure> forget_others(const std::set<std::uint32_t>& ours, Writes& writes) = 0;
};

enum class TcHook { Tcx, Clsact };
// What the running kernel has, asked with a loaded tc program; attaches nothing.
TcHook probe_tc_hook(int program);
std::unique_ptr<Attacher> make_attacher(TcHook hook, std::string links);

}  // namespace fairlead::proxy::dataplane::ebpf
