// Call: one invocation of a CNI plugin (CNI specification 1.1.0), read from the environment and stdin and checked, as a
// plain value. Everything behind it is the same whether the caller is a runtime, another plugin or the sweep.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/strings.h"
#include "cni-plugin/net_result.h"

namespace fairlead::cni {

// Error codes of the specification, carried in Error::code(); an Error without one is answered as Internal.
namespace code {
inline constexpr int kIncompatibleVersion = 1;
inline constexpr int kUnsupportedField = 2;
inline constexpr int kUnknownContainer = 3;
inline constexpr int kInvalidEnvironment = 4;
inline constexpr int kIo = 5;
inline constexpr int kDecode = 6;
inline constexpr int kInvalidConfig = 7;
inline constexpr int kInvalidNetns = 8;
inline constexpr int kTryAgain = 11;
// Ours. ADD: the attachment, or somebody else's interface of that name, is there already, and nothing was done. There
// is nothing to undo: undoing would take away what works.
inline constexpr int kAlreadyAttached = 100;
inline constexpr int kNotAvailable = 50;         // STATUS: ADD cannot be served
inline constexpr int kLimitedConnectivity = 51;  // STATUS: and running containers may suffer
inline constexpr int kInternal = 999;            // what the Go library answers
}  // namespace code

// failure(code::kInvalidConfig, "ipam.subnet: is missing"). The dispatcher puts the plugin's name in front. What
// follows a line break in the message is the answer's `details`.
template <typename... Parts>
Error failure(int code, const Parts&... parts) {
  return Error(base::cat(parts...)).with_code(code);
}

enum class Verb : std::uint8_t { Add, Del, Check, Status, Gc, Version };
std::string_view to_string(Verb verb);  // "ADD", ...

// What a runtime attaches, and the key of everything that is kept about it.
struct Attachment {
  std::string network;  // the configuration's `name`
  std::string container_id;
  std::string ifname;
  auto operator<=>(const Attachment&) const = default;
};

struct Call {
  Verb verb = Verb::Add;
  std::string plugin;  // the name it was called by: "bridge"
  Attachment attachment;
  std::string netns;                        // path; on DEL it may be empty or lead nowhere
  bool own_netns_allowed = false;           // CNI_NETNS_OVERRIDE: `netns` may be the one we run in
  std::map<std::string, std::string> args;  // CNI_ARGS
  std::vector<std::string> path;            // CNI_PATH
  std::string version;                      // cniVersion of the configuration
  std::string stdin_text;                   // as it came: a delegate gets it whole
  base::Value config;                       // parsed; read it with Fields (fields.h)
  std::optional<NetResult> previous;        // prevResult
  // GC: the attachments that live on. Empty is a statement, absent is not.
  std::optional<std::vector<Attachment>> valid;
};

}  // namespace fairlead::cni
