// invocation: from an environment and the text on stdin to a Call, or to the error that the specification has for it.
// The order of the checks is the Go library's (containernetworking/cni pkg/skel/skel.go), which runtimes and tests
// know; what the specification calls optional (CNI_PATH) may be missing.
#pragma once

#include <map>
#include <string>

#include "cni-plugin/call.h"
#include "cni-plugin/plugin.h"

namespace fairlead::cni {

using Environment = std::map<std::string, std::string>;

inline constexpr std::size_t kMaxStdinBytes = std::size_t{16} << 20;

// What the variables say: verb, attachment, netns, CNI_ARGS, CNI_PATH. Errors have code 4 and name the variables.
Result<Call> read_environment(const Plugin& plugin, const Environment& environment);

// `call` with the configuration of `stdin_text`. Nothing is asked of it for VERSION.
Result<Call> read_config(const Plugin& plugin, Call call, std::string stdin_text);

// The other way, for a delegate and for a record: the variables that say what `call` says.
Environment environment_of(const Call& call);

// `call` as a DEL of the same attachment.
Call as_del(Call call);

}  // namespace fairlead::cni
