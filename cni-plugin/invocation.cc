#include "cni-plugin/invocation.h"

#include <algorithm>
#include <array>

#include "cni-plugin/fields.h"

namespace fairlead::cni {
namespace {

using base::cat;

constexpr std::pair<std::string_view, Verb> kVerbs[] = {{"ADD", Verb::Add},     {"DEL", Verb::Del},
                                                        {"CHECK", Verb::Check}, {"STATUS", Verb::Status},
                                                        {"GC", Verb::Gc},       {"VERSION", Verb::Version}};

bool names_an_attachment(Verb verb) { return verb == Verb::Add || verb == Verb::Del || verb == Verb::Check; }

std::string_view variable(const Environment& environment, const std::string& name) {
  const auto at = environment.find(name);
  return at == environment.end() ? std::string_view() : std::string_view(at->second);
}

bool is_yes(std::string_view text) { return text == "1" || text == "true" || text == "True" || text == "TRUE"; }

bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

// SPEC.md: names of networks and containers start with an alphanumeric character, and go on with those, ".", "_" or
// "-".
bool is_identifier(std::string_view text) {
  return !text.empty() && is_alphanumeric(text.front()) && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
  });
}

// Records and errors are JSON, which has no other bytes.
bool is_utf8(std::string_view text) {
  const auto read_back = base::parse_json(base::to_json(base::Value(text)));
  return read_back && *read_back == base::Value(text);
}

// linux v6.1 net/core/dev.c dev_valid_name()
Status check_ifname(std::string_view name) {
  constexpr std::size_t kIfnameBytes = 15;
  const auto refused = [name](const auto&... what) {
    return failure(code::kInvalidEnvironment, "CNI_IFNAME=\"", name, "\": ", what...);
  };
  if (name.size() > kIfnameBytes) return refused("has ", name.size(), " bytes, at most ", kIfnameBytes, " are allowed");
  if (name == "." || name == "..") return refused("is not allowed");
  if (name.find_first_of("/: \t\n\v\f\r") != name.npos) return refused("must have no \"/\", \":\" or space");
  return {};
}

Status check_container_id(std::string_view id) {
  if (is_identifier(id)) return {};
  return failure(code::kInvalidEnvironment, "CNI_CONTAINERID=\"", id,
                 "\": must be alphanumeric characters, \".\", \"_\" and \"-\", an alphanumeric one first");
}

Status check_all_there(Verb verb, const Environment& environment) {
  std::vector<std::string> missing;
  const auto need = [&](const char* name) {
    if (variable(environment, name).empty()) missing.emplace_back(name);
  };
  if (names_an_attachment(verb)) {
    need("CNI_CONTAINERID");
    if (verb != Verb::Del) need("CNI_NETNS");
    need("CNI_IFNAME");
  }
  if (missing.empty()) return {};
  return failure(code::kInvalidEnvironment, "required env variables [", base::join(missing, ","), "] missing");
}

// What runtimes and Kubernetes are known to set; who sets more says IgnoreUnknown (CONVENTIONS.md).
bool is_known_argument(std::string_view key) {
  constexpr std::string_view kKnown[] = {"IgnoreUnknown", "IP", "GATEWAY", "MAC"};
  return std::find(std::begin(kKnown), std::end(kKnown), key) != std::end(kKnown) || key.substr(0, 4) == "K8S_";
}

Result<std::map<std::string, std::string>> parse_args(std::string_view text) {
  std::map<std::string, std::string> args;
  if (text.empty()) return args;
  const auto refused = [](const auto&... what) { return failure(code::kInvalidEnvironment, "CNI_ARGS: ", what...); };
  for (const std::string_view pair : base::split(text, ';')) {
    const std::size_t equals = pair.find('=');
    if (equals == pair.npos || equals == 0 || pair.find('=', equals + 1) != pair.npos)
      return refused("\"", pair, "\" must be KEY=VALUE");
    args.insert_or_assign(std::string(pair.substr(0, equals)), std::string(pair.substr(equals + 1)));
  }
  const auto ignore = args.find("IgnoreUnknown");
  if (ignore != args.end() && is_yes(ignore->second)) return args;
  for (const auto& [key, value] : args) {
    if (!is_known_argument(key)) return refused("the key \"", key, "\" is unknown, and IgnoreUnknown=1 is not given");
  }
  return args;
}

std::string list_of_versions(const Plugin& plugin) {
  std::string out = "[";
  for (const std::string_view version : kVersions) {
    if (version >= plugin.oldest_version) base::append(out, cat(out.size() > 1 ? " " : "", "\"", version, "\""));
  }
  return out + "]";
}

Status check_version(const Plugin& plugin, Verb verb, const std::string& version) {
  const bool known = std::find(std::begin(kVersions), std::end(kVersions), version) != std::end(kVersions);
  if (!known || version < plugin.oldest_version)
    return failure(code::kIncompatibleVersion, "incompatible CNI versions\nconfig is \"", version,
                   "\", plugin supports ", list_of_versions(plugin));
  const bool too_old =
      verb == Verb::Check ? version < "0.4.0" : (verb == Verb::Gc || verb == Verb::Status) && version < "1.1.0";
  if (too_old)
    return failure(code::kIncompatibleVersion, "config version does not allow ", to_string(verb), "\nconfig is \"",
                   version, "\"");
  return {};
}

// An empty list is a statement. A missing one is not: taken for empty it would remove everything.
Result<std::vector<Attachment>> valid_attachments(const Fields& config, const std::string& network) {
  const char* key = config.has("cni.dev/valid-attachments") ? "cni.dev/valid-attachments" : "cni.dev/attachments";
  if (!config.has(key)) return config.error("cni.dev/valid-attachments", "is missing, so nothing is removed");
  std::vector<Attachment> valid;
  for (const Fields& fields : TRY(config.objects(key))) {
    Attachment one{network, TRY(fields.text("containerID")).value_or(""), TRY(fields.text("ifname")).value_or("")};
    if (one.container_id.empty()) return fields.error("containerID", "is missing");
    if (one.ifname.empty()) return fields.error("ifname", "is missing");
    valid.push_back(std::move(one));
  }
  return valid;
}

}  // namespace

std::string_view to_string(Verb verb) {
  for (const auto& [name, each] : kVerbs) {
    if (each == verb) return name;
  }
  return "?";
}

Result<Call> read_environment(const Plugin& plugin, const Environment& environment) {
  Call call;
  call.plugin = plugin.name;
  const std::string_view command = variable(environment, "CNI_COMMAND");
  if (command.empty()) return failure(code::kInvalidEnvironment, "required env variables [CNI_COMMAND] missing");
  const auto verb =
      std::find_if(std::begin(kVerbs), std::end(kVerbs), [&](const auto& v) { return v.first == command; });
  if (verb == std::end(kVerbs)) return failure(code::kInvalidEnvironment, "unknown CNI_COMMAND: ", command);
  call.verb = verb->second;
  TRY(check_all_there(call.verb, environment));
  for (const char* name : {"CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_ARGS", "CNI_PATH"}) {
    if (!is_utf8(variable(environment, name))) return failure(code::kInvalidEnvironment, name, ": is not UTF-8");
  }
  call.attachment.container_id = variable(environment, "CNI_CONTAINERID");
  call.attachment.ifname = variable(environment, "CNI_IFNAME");
  call.netns = variable(environment, "CNI_NETNS");
  call.own_netns_allowed = is_yes(variable(environment, "CNI_NETNS_OVERRIDE"));
  for (const std::string_view folder : base::split(variable(environment, "CNI_PATH"), ':')) {
    if (!folder.empty()) call.path.emplace_back(folder);
  }
  auto args = parse_args(variable(environment, "CNI_ARGS"));
  // A DEL does what it can.
  if (!args && call.verb != Verb::Del) return std::move(args).error();
  if (args) call.args = *std::move(args);
  return call;
}

Result<Call> read_config(const Plugin& plugin, Call call, std::string stdin_text) {
  if (call.verb == Verb::Version) return call;
  call.stdin_text = std::move(stdin_text);
  auto config = base::parse_json(call.stdin_text, base::Duplicates::LastWins);
  if (!config) return failure(code::kDecode, "network configuration: ", config.error().message());
  if (config->as_object() == nullptr)
    return failure(code::kDecode, "network configuration: must be an object, not ", config->type_name());
  call.config = *std::move(config);
  const Fields fields = TRY(Fields::of(call.config));

  call.attachment.network = TRY(fields.text("name")).value_or("");
  if (call.attachment.network.empty()) return failure(code::kInvalidConfig, "missing network name");
  if (!is_identifier(call.attachment.network))
    return fields.error("name", cat("must be alphanumeric characters, \".\", \"_\" and \"-\", an alphanumeric one "
                                    "first, not \"",
                                    call.attachment.network, "\""));
  if (names_an_attachment(call.verb)) {
    TRY(check_container_id(call.attachment.container_id));
    TRY(check_ifname(call.attachment.ifname));
  }
  call.version = TRY(fields.text("cniVersion")).value_or("");
  if (call.version.empty()) call.version = kVersions[0];
  TRY(check_version(plugin, call.verb, call.version));

  if (names_an_attachment(call.verb) && fields.has("prevResult")) {
    auto previous = parse_result(fields.raw("prevResult"), call.version);
    // A DEL does what it can.
    if (!previous && call.verb != Verb::Del) return std::move(previous).error().with_context("prevResult");
    if (previous) call.previous = *std::move(previous);
  }
  if (call.verb == Verb::Gc) call.valid = TRY(valid_attachments(fields, call.attachment.network));
  return call;
}

Environment environment_of(const Call& call) {
  Environment out{{"CNI_COMMAND", std::string(to_string(call.verb))}};
  const auto set = [&out](const char* name, std::string value) {
    if (!value.empty()) out.emplace(name, std::move(value));
  };
  set("CNI_CONTAINERID", call.attachment.container_id);
  set("CNI_IFNAME", call.attachment.ifname);
  set("CNI_NETNS", call.netns);
  set("CNI_PATH", base::join(call.path, ":"));
  set("CNI_NETNS_OVERRIDE", call.own_netns_allowed ? "1" : "");
  std::vector<std::string> pairs;
  for (const auto& [key, value] : call.args) pairs.push_back(cat(key, "=", value));
  set("CNI_ARGS", base::join(pairs, ";"));
  return out;
}

Call as_del(Call call) {
  call.verb = Verb::Del;
  return call;
}

}  // namespace fairlead::cni
