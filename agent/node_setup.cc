#include "agent/node_setup.h"

#include <unistd.h>

#include <algorithm>

#include "agent/node_settings.h"
#include "base/log.h"
#include "base/strings.h"

namespace fairlead::agent {

namespace log = base::log;

Result<Conntrack> tune_conntrack(const Options& options) {
  if (!options.tune_conntrack) return Conntrack::Done;
  KernelFiles files;
  const auto cpus = static_cast<unsigned>(std::max(::sysconf(_SC_NPROCESSORS_ONLN), 1L));
  const Tuned tuned =
      TRY_CONTEXT(tune(files, conntrack_settings(options.kube_proxy, cpus)),
                  "conntrack (run once privileged with --init-only, or set 0 to leave a setting alone)");
  for (const NodeSetting& each : tuned.written) {
    log::info("set", {{"file", each.file}, {"value", base::cat(each.value)}});
  }
  for (const std::string& warning : tuned.warnings) log::warn("conntrack", {{"err", warning}});
  return tuned.absent.empty() ? Conntrack::Done : Conntrack::NotLoaded;
}

void set_oom_score(const Options& options) {
  if (!options.oom_score_adj) return;
  const Status set = KernelFiles().write("/proc/self/oom_score_adj", base::cat(*options.oom_score_adj));
  if (!set) log::warn("cannot set oomScoreAdj", {{"err", set.error().message()}});
}

}  // namespace fairlead::agent
