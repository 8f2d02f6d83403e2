// dispatch: one call from its variables to its answer: the checks, the write-ahead record around the verb, the undoing
// of what failed, and the form of the answer.
//
// An ADD that fails is undone by the plugin's own `del`, which calls ipam_del(): so it is that a delegate's DEL is
// called when its ADD, or anything behind it, failed.
#pragma once

#include <functional>
#include <string>

#include "cni-plugin/invocation.h"
#include "cni-plugin/plugin.h"

namespace fairlead::cni {

struct Answer {
  int exit_code = 0;
  std::string out;  // stdout: a result, or an error in JSON
  std::string err;  // stderr: for people
  bool operator==(const Answer&) const = default;
};

// `read_stdin` is called at most once, and not for VERSION.
Answer dispatch(const Plugin& plugin, const Environment& environment,
                const std::function<Result<std::string>()>& read_stdin, const World& world);

// {"cniVersion", "code", "msg", "details"}. An Error without a code gets `default_code`.
std::string error_json(const Error& error, std::string_view version, int default_code = code::kInternal);

}  // namespace fairlead::cni
