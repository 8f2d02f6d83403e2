#include "cni-plugin/dispatch.h"

#include <algorithm>

#include "cni-plugin/delegate.h"
#include "net/netns.h"

namespace fairlead::cni {
namespace {

using base::cat;
using base::Value;

constexpr std::string_view kNewest = kVersions[std::size(kVersions) - 1];

std::string supported_versions(const Plugin& plugin, std::string_view separator) {
  std::string out;
  for (const std::string_view version : kVersions) {
    if (version >= plugin.oldest_version) base::append(out, cat(out.empty() ? "" : separator, version));
  }
  return out;
}

Answer about(const Plugin& plugin) {
  return {0, "",
          cat("CNI ", plugin.name, " plugin of Fairlead: ", plugin.about,
              "\nCNI protocol versions supported: ", supported_versions(plugin, ", "), "\n")};
}

Answer versions(const Plugin& plugin) {
  return {
      0,
      cat("{\"cniVersion\":\"", kNewest, "\",\"supportedVersions\":[\"", supported_versions(plugin, "\",\""), "\"]}\n"),
      ""};
}

Answer failed(const Plugin& plugin, Error error, std::string_view version, int default_code = code::kInternal) {
  const std::string prefix = cat(plugin.name, ": ");
  if (error.message().substr(0, prefix.size()) != prefix) error = std::move(error).with_context(plugin.name);
  return {1, cat(error_json(error, version, default_code), "\n"), ""};
}

// Before anything is done: a configuration for the host's own namespace would take the host off the network.
Status check_not_own_netns(const Call& call) {
  if (call.netns.empty() || call.own_netns_allowed) return {};
  const auto theirs = net::Netns::open(call.netns);
  if (!theirs) return {};  // the plugin knows whether it needs it
  if (TRY(net::Netns::current()) == *theirs)
    return failure(code::kInvalidNetns, "CNI_NETNS=\"", call.netns,
                   "\" is the network namespace this plugin runs in; CNI_NETNS_OVERRIDE=1 allows it");
  return {};
}

Result<std::string> add(const Plugin& plugin, const Call& call, const World& world) {
  TRY(check_not_own_netns(call));
  const auto attempt = [&]() -> Result<std::string> {
    const NetResult result = TRY(plugin.add(call, world));
    return base::to_json(TRY(to_json(result, call.version)));
  };
  auto result = attempt();
  if (!result) {
    const Status undone = plugin.del(as_del(call), world);
    (void)undone;
  }
  return result;
}

Status del(const Plugin& plugin, const Call& call, const World& world) {
  TRY(check_not_own_netns(call));
  return plugin.del(call, world);
}

Status check(const Plugin& plugin, const Call& call, const World& world) {
  TRY(check_not_own_netns(call));
  if (!call.previous) return failure(code::kInvalidConfig, "prevResult: is missing, and CHECK needs it");
  return plugin.check == nullptr ? Status() : plugin.check(call, world);
}

// Whether the configuration delegates to an IPAM plugin that is not this one.
bool delegates(const Plugin& plugin, const Call& call) {
  const base::Value& ipam = call.config["ipam"];
  return has_ipam(call) && !(ipam["type"] == Value(plugin.name));
}

Status status(const Plugin& plugin, const Call& call, const World& world) {
  if (plugin.status != nullptr) TRY(plugin.status(call, world));
  if (delegates(plugin, call)) TRY(ipam_status(call, world));
  return {};
}

Result<std::string> perform(const Plugin& plugin, const Call& call, const World& world) {
  switch (call.verb) {
    case Verb::Add: return add(plugin, call, world);
    case Verb::Del: TRY(del(plugin, call, world)); break;
    case Verb::Check: TRY(check(plugin, call, world)); break;
    case Verb::Status: TRY(status(plugin, call, world)); break;
    case Verb::Gc: break;
    case Verb::Version: break;
  }
  return std::string();
}

}  // namespace

std::string error_json(const Error& error, std::string_view version, int default_code) {
  const std::string& message = error.message();
  const std::size_t end = message.find('\n');
  Value out;
  out.set("cniVersion", Value(version));
  out.set("code", Value(error.code() != 0 ? error.code() : default_code));
  out.set("msg", Value(message.substr(0, end)));
  if (end != message.npos) out.set("details", Value(message.substr(end + 1)));
  return base::to_json(out);
}

Answer dispatch(const Plugin& plugin, const Environment& environment,
                const std::function<Result<std::string>()>& read_stdin, const World& world) {
  const auto command = environment.find("CNI_COMMAND");
  if (command == environment.end() || command->second.empty()) return about(plugin);
  auto named = read_environment(plugin, environment);
  if (!named) return failed(plugin, std::move(named).error(), kNewest);
  if (named->verb == Verb::Version) return versions(plugin);
  auto text = read_stdin();
  if (!text) return failed(plugin, std::move(text).error(), kNewest);
  const auto call = read_config(plugin, *std::move(named), *std::move(text));
  if (!call) return failed(plugin, call.error(), kNewest);
  auto out = perform(plugin, *call, world);
  const int default_code = call->verb == Verb::Status ? code::kNotAvailable : code::kInternal;
  if (!out) return failed(plugin, std::move(out).error(), call->version, default_code);
  return {0, out->empty() ? std::string() : *std::move(out) + "\n", ""};
}

}  // namespace fairlead::cni
