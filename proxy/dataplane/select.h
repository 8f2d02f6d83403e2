// select: which dataplane drives this node. Pure choice over a table of modules; modules.cc holds the real table.
//
// `auto` takes the first whose probe says usable, in table order (eBPF, then nftables). A probe is a feature test of
// tens of milliseconds, so only what the choice needs is probed: one that was named is simply opened, and says then why
// it cannot be.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "proxy/dataplane/dataplane.h"

namespace fairlead::proxy::dataplane {

struct Module {
  std::string name;
  std::function<Probe(const Options&)> probe;
  std::function<Result<std::unique_ptr<Dataplane>>(const Options&)> open;
  std::function<bool(const Options&)> has_traces;  // the kernel holds something of this instance; cheap
  std::function<Status(const Options&)> remove;    // every trace; safe when there is none
};

// Every dataplane of this build, best first.
std::vector<Module> modules();

struct NamedProbe {
  std::string dataplane;
  Probe probe;
};

struct Selection {
  Module module;
  std::vector<NamedProbe> probes;  // in order of preference; the last one is the chosen module's
};

// `choice` is "auto" or a module's name. The Error says why each probed dataplane is unusable.
Result<Selection> select(std::string_view choice, const std::vector<Module>& table, const Options& options);

std::vector<NamedProbe> probe_all(const std::vector<Module>& table, const Options& options);

enum class Found { Nothing, Removed };
// Removes what this module of this instance left in the kernel.
Result<Found> remove_traces(const Module& module, const Options& options);

}  // namespace fairlead::proxy::dataplane
