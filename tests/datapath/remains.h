// Remains: everything a testbed leaves in the system can be found from its prefix "fl-<pid>-<n>" alone:
//   /run/<prefix>/      one tmpfs: namespaces bound to files, bpffs mounts, sockets, logs, manifests
//   <cgroup2>/<prefix>/ every process of the testbed lives below it
// so removal (kill the cgroup, remove it, detach the tmpfs) needs no memory of what was built, and the next process
// can do it for one that was killed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fairlead::testbed {

inline constexpr std::string_view kPrefixStem = "fl-";

Result<std::string> cgroup2_root();  // where cgroup v2 is mounted
std::string run_dir(std::string_view prefix);

// Takes the first free prefix of this process and mounts its run directory.
Result<std::string> claim_prefix();
// Kills, removes and unmounts all that belongs to `prefix`. Safe when there is nothing, and when another process does
// the same at the same time.
Status remove_remains(std::string_view prefix);
// Leaves the testbed standing after its process has ended; sweep() passes over it.
Status mark_kept(std::string_view prefix);

enum class Kept { Spare, Remove };
// Removes what processes that are dead by now left behind; returns the prefixes.
Result<std::vector<std::string>> sweep(Kept kept = Kept::Spare);

}  // namespace fairlead::testbed
