// mounts: where cgroup2 is, and whether a bpffs is.
#pragma once

#include <string>

#include "base/result.h"

namespace fairlead::agent {

inline constexpr const char* kDefaultBpfRoot = "/sys/fs/bpf";

// The cgroup2 mount: /sys/fs/cgroup, or /sys/fs/cgroup/unified on a hybrid host; the former when there is neither.
std::string default_cgroup();

enum class BpfRoot { Ready, Mounted };
enum class MountFor { Everybody, ThisProcess };  // the latter in a mount namespace of its own
// A bpffs at `path`. Only the system-wide default is mounted when it is missing, as bpftool and systemd do: any other
// path is the operator's to prepare.
Result<BpfRoot> ensure_bpf_root(const std::string& path, MountFor scope);

}  // namespace fairlead::agent
