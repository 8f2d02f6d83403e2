// The eBPF dataplane: socket load balancing on a cgroup, per-packet load balancing in tc on every interface of the
// calling thread's network namespace. layout.md tells how the maps and the packet paths look.
//
// One thread. What it made is pinned and works on after the process has gone; open() and replace() take it up again.
#pragma once

#include <memory>

#include "proxy/dataplane/dataplane.h"
#include "proxy/dataplane/ebpf/attach.h"

namespace fairlead::proxy::dataplane::ebpf {

Probe probe(const Options& options);

// Loads or finds maps and programs; attaches nothing before the first replace().
Result<std::unique_ptr<Dataplane>> open(const Options& options);
// The same with a given way to attach to interfaces, whatever this kernel would allow.
Result<std::unique_ptr<Dataplane>> open_with(const Options& options, std::unique_ptr<Attacher> attacher);

// Removes every trace of the instance without opening it; safe when there is none.
Status remove(const Options& options);

}  // namespace fairlead::proxy::dataplane::ebpf
