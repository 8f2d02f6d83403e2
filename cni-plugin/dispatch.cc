#include "cni-plugin/dispatch.h"

#include "cni-plugin/delegate.h"
#include "cni-plugin/lifecycle.h"
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

Status check(const Plugin& plugin, const Call& call, const World& world) {
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

// All of it, whatever fails; the Error is of everything that did.
Status collect_garbage(const Plugin& plugin, const Call& call, const World& world, std::string& notes) {
  std::vector<Error> errors;
  const auto note = [&errors](Status outcome) {
    if (!outcome) errors.push_back(std::move(outcome).error());
  };
  note(release_all_but_valid(plugin, call, world, notes));
  if (plugin.gc != nullptr) note(plugin.gc(call, world));
  if (delegates(plugin, call)) note(ipam_gc(call, world));
  return joined(errors);
}

Result<std::string> perform(const Plugin& plugin, const Call& call, const World& world, std::string& notes) {
  if (call.verb == Verb::Add || call.verb == Verb::Del || call.verb == Verb::Check) TRY(check_not_own_netns(call));
  switch (call.verb) {
    case Verb::Add: return add_attachment(plugin, call, world, notes);
    case Verb::Del: TRY(delete_attachment(plugin, call, world, notes)); break;
    case Verb::Check: TRY(check(plugin, call, world)); break;
    case Verb::Status: TRY(status(plugin, call, world)); break;
    case Verb::Gc: TRY(collect_garbage(plugin, call, world, notes)); break;
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
  std::string notes;
  auto out = perform(plugin, *call, world, notes);
  const int default_code = call->verb == Verb::Status ? code::kNotAvailable : code::kInternal;
  Answer answer = out ? Answer{0, out->empty() ? "" : cat(*out, "\n"), ""}
                      : failed(plugin, std::move(out).error(), call->version, default_code);
  answer.err = std::move(notes);
  return answer;
}

}  // namespace fairlead::cni
