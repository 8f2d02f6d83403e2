#include "agent/kube_proxy_config.h"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <type_traits>
#include <utility>

#include "agent/flags.h"
#include "agent/kube_proxy_settings.h"
#include "agent/listen.h"
#include "agent/time_text.h"
#include "agent/yaml_text.h"
#include "base/strings.h"
#include "kube/field.h"
#include "kube/yaml.h"

namespace fairlead::agent {
namespace {

using base::cat;
using base::Duration;
using base::Value;
using kube::Field;
using K = KubeProxyConfiguration;
using List = std::vector<std::string>;

constexpr std::string_view kApiVersion = "kubeproxy.config.k8s.io/v1alpha1";
constexpr std::string_view kKind = "KubeProxyConfiguration";
constexpr std::uint16_t kHealthzPort = 10256;
constexpr std::uint16_t kMetricsPort = 10249;

// What to use where a setting has nothing to add to its type.
template <typename T>
std::string_view use_of(const Setting& setting) {
  if (!setting.use.empty()) return setting.use;
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_same_v<T, std::int32_t>) return "a whole number";
  if constexpr (std::is_same_v<T, double>) return "a number";
  if constexpr (std::is_same_v<T, Duration>) return "a duration such as 30s or 1h30m";
  if constexpr (std::is_same_v<T, List>) return "a list of strings";
  if constexpr (std::is_same_v<T, K::Gates>) return "names of feature gates, each with true or false";
  return "a string";
}

template <typename T>
bool fits(const Setting& setting, const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    const auto* rule = std::get_if<Setting::TextRule>(&setting.rule);
    return rule == nullptr || value.empty() || (*rule)(value);
  } else if constexpr (std::is_same_v<T, List>) {
    const auto* rule = std::get_if<Setting::ListRule>(&setting.rule);
    return rule == nullptr || (*rule)(value);
  } else if constexpr (std::is_same_v<T, std::int32_t> || std::is_same_v<T, Duration>) {
    const auto* range = std::get_if<Setting::Range>(&setting.rule);
    std::int64_t number = 0;
    if constexpr (std::is_same_v<T, Duration>) {
      number = value.count();
    } else {
      number = value;
    }
    return range == nullptr || (number >= range->lowest && number <= range->highest);
  } else {
    return true;
  }
}

// ---- from a file: the value of a type, or nothing when it is of another

std::optional<std::string> read(const Value& value, std::type_identity<std::string>) {
  if (value.as_string() != nullptr) return *value.as_string();
  return std::nullopt;
}
std::optional<bool> read(const Value& value, std::type_identity<bool>) {
  if (value.as_bool() != nullptr) return *value.as_bool();
  return std::nullopt;
}
std::optional<std::int32_t> read(const Value& value, std::type_identity<std::int32_t>) {
  const std::int64_t* number = value.as_int();
  if (number == nullptr || *number != static_cast<std::int32_t>(*number)) return std::nullopt;
  return static_cast<std::int32_t>(*number);
}
std::optional<double> read(const Value& value, std::type_identity<double>) {
  if (const std::int64_t* number = value.as_int()) return static_cast<double>(*number);
  if (value.as_double() != nullptr && std::isfinite(*value.as_double())) return *value.as_double();
  return std::nullopt;
}
std::optional<Duration> read(const Value& value, std::type_identity<Duration>) {
  return value.as_string() == nullptr ? std::nullopt : parse_duration(*value.as_string());
}
std::optional<List> read(const Value& value, std::type_identity<List>) {
  if (value.as_array() == nullptr) return std::nullopt;
  List out;
  for (const Value& item : *value.as_array()) {
    if (item.as_string() == nullptr) return std::nullopt;
    out.push_back(*item.as_string());
  }
  return out;
}
std::optional<K::Gates> read(const Value& value, std::type_identity<K::Gates>) {
  if (value.as_object() == nullptr) return std::nullopt;
  K::Gates out;
  for (const auto& [name, on] : *value.as_object()) {
    if (on.as_bool() == nullptr) return std::nullopt;
    out.emplace(name, *on.as_bool());
  }
  return out;
}

// Two fields of logging take a number as well: nanoseconds, and a size.
template <typename T>
std::optional<T> read_number_as(const Setting& setting, const Value& value) {
  const std::int64_t* number = value.as_int();
  if (number == nullptr || !setting.path.starts_with("logging.")) return std::nullopt;
  if constexpr (std::is_same_v<T, Duration>) return Duration(*number);
  if constexpr (std::is_same_v<T, std::string>) return cat(*number);
  return std::nullopt;
}

// What no JSON or YAML can say must not come in either.
bool is_utf8(const std::string& text) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) return true;
  const Value value(text);
  const auto again = base::parse_json(base::to_json(value));
  return again && *again == value;
}

Status set_from(const Field&, const Setting&, K&, std::monostate) { return {}; }

template <typename T>
Status set_from(const Field& field, const Setting& setting, K& configuration, T K::*slot) {
  if (field.absent()) return {};
  auto value = read(field.value(), std::type_identity<T>());
  if (!value) value = read_number_as<T>(setting, field.value());
  if (value && setting.zero_is_unset && *value == T()) return {};
  if (!value || !fits(setting, *value)) {
    const std::string use = cat("allowed: use ", use_of<T>(setting));
    const bool whole = field.value().as_array() != nullptr || field.value().as_object() != nullptr;
    return whole ? field.error(cat(base::to_json(field.value()), " is not ", use)) : field.not_a(use);
  }
  if constexpr (std::is_same_v<T, std::string>) {
    if (!is_utf8(*value)) return field.error("is not UTF-8");
  }
  if constexpr (std::is_same_v<T, K::Gates>) {
    for (const auto& [name, on] : *value) {
      if (const auto wrong = wrong_gate(name, on)) return field.member(name).error(*wrong);
    }
  }
  configuration.*slot = std::move(*value);
  return {};
}

// ---- from a flag

std::optional<std::string> parse(const std::string& text, std::type_identity<std::string>) { return text; }
std::optional<bool> parse(const std::string& text, std::type_identity<bool>) { return parse_bool(text); }
std::optional<std::int32_t> parse(const std::string& text, std::type_identity<std::int32_t>) {
  return base::parse_number<std::int32_t>(text);
}
std::optional<double> parse(const std::string& text, std::type_identity<double>) {
  const auto number = base::parse_number<double>(text);
  return number && std::isfinite(*number) ? number : std::nullopt;
}
std::optional<Duration> parse(const std::string& text, std::type_identity<Duration>) { return parse_duration(text); }
std::optional<List> parse(const std::string& text, std::type_identity<List>) {
  List out;
  if (text.empty()) return out;
  for (const std::string_view part : base::split(text, ',')) out.emplace_back(base::trim(part));
  return out;
}
std::optional<K::Gates> parse(const std::string& text, std::type_identity<K::Gates>) {
  K::Gates out;
  for (const std::string_view part : base::split(text, ',')) {
    const std::string_view gate = base::trim(part);
    if (gate.empty()) continue;
    const std::size_t equals = gate.find('=');
    const auto on = equals == gate.npos ? std::nullopt : parse_bool(base::trim(gate.substr(equals + 1)));
    if (!on) return std::nullopt;
    out[std::string(base::trim(gate.substr(0, equals)))] = *on;
  }
  return out;
}

Status set_text(const Setting&, const std::string&, Occurrence, K&, std::monostate) { return {}; }

template <typename T>
Status set_text(const Setting& setting, const std::string& text, Occurrence occurrence, K& configuration, T K::*slot) {
  auto value = parse(text, std::type_identity<T>());
  if (!value) return Error(cat("--", setting.flag, ": \"", text, "\" is not allowed: use ", use_of<T>(setting)));
  T& target = configuration.*slot;
  if constexpr (std::is_same_v<T, std::string>) {
    if (value->empty() && setting.zero_is_unset) *value = K().*slot;
  } else if constexpr (std::is_same_v<T, List>) {
    if (occurrence == Occurrence::Again) value->insert(value->begin(), target.begin(), target.end());
  } else if constexpr (std::is_same_v<T, K::Gates>) {
    for (const auto& [name, on] : *value) {
      if (const auto wrong = wrong_gate(name, on)) return Error(cat("--", setting.flag, ": ", name, " ", *wrong));
    }
    value->insert(target.begin(), target.end());  // what is there already stays
  }
  if (!fits(setting, *value)) {
    return Error(cat("--", setting.flag, ": \"", text, "\" is not allowed: use ", use_of<T>(setting)));
  }
  target = std::move(*value);
  return {};
}

// ---- to a tree

Value written(const std::string& text) { return Value(text); }
Value written(bool on) { return Value(on); }
Value written(std::int32_t number) { return Value(number); }
Value written(double number) {
  const auto whole = static_cast<std::int64_t>(number);
  return static_cast<double>(whole) == number ? Value(whole) : Value(number);
}
Value written(Duration duration) { return Value(format_duration(duration)); }
Value written(const List& list) {
  Value::Array out;
  for (const std::string& item : list) out.emplace_back(item);
  return Value(std::move(out));
}
Value written(const K::Gates& gates) {
  Value::Object out;
  for (const auto& [name, on] : gates) out.emplace_back(name, Value(on));
  return Value(std::move(out));
}

// The object at `parent`.`name`, made when it is not there. Settings come sorted, so it is the last member.
Value& group(Value& parent, std::string_view name) {
  Value::Object& members = *parent.as_object();
  if (members.empty() || members.back().first != name) members.emplace_back(name, Value(Value::Object()));
  return members.back().second;
}

void put(Value& root, std::string_view path, Value value) {
  Value* at = &root;
  std::size_t dot = 0;
  while ((dot = path.find('.')) != path.npos) {
    at = &group(*at, path.substr(0, dot));
    path.remove_prefix(dot + 1);
  }
  at->set(std::string(path), std::move(value));
}

// ---- the document

const Setting* setting_at(std::string_view path) {
  for (const Setting& setting : kube_proxy_settings()) {
    if (setting.path == path) return &setting;
  }
  return nullptr;
}

bool is_group(std::string_view path) {
  const auto settings = kube_proxy_settings();
  return std::any_of(settings.begin(), settings.end(), [&](const Setting& setting) {
    return setting.path.size() > path.size() && setting.path.starts_with(path) && setting.path[path.size()] == '.';
  });
}

Status decode_members(const Field& object, const std::string& path, DecodedConfiguration& out) {
  if (object.absent()) return {};
  if (object.value().as_object() == nullptr) return object.not_a("an object");
  for (const auto& [name, value] : *object.value().as_object()) {
    const Field field = object.member(name);
    const std::string at = path.empty() ? name : cat(path, ".", name);
    if (const Setting* setting = setting_at(at)) {
      TRY(std::visit([&](auto slot) { return set_from(field, *setting, out.configuration, slot); }, setting->slot));
    } else if (is_group(at)) {
      TRY(decode_members(field, at, out));
    } else if (at != "apiVersion" && at != "kind") {
      out.warnings.push_back(field.error("is no field of a KubeProxyConfiguration").message());
    }
  }
  return {};
}

Status is_exactly(const Field& field, std::string_view wanted) {
  const std::string* text = field.value().as_string();
  return text != nullptr && *text == wanted ? Status() : field.not_a(wanted);
}

// Kubernetes decodes strictly, and once more leniently where the only fault is a field that is unknown or there twice.
Result<std::vector<Value>> parse_documents(std::string_view text, std::vector<std::string>& warnings) {
  auto strict = kube::parse_yaml(text);
  if (strict) return strict;
  auto lenient = kube::parse_yaml(text, kube::DuplicateKeys::LastWins);
  if (!lenient) return strict;
  warnings.push_back(strict.error().message() + "; the last one counts");
  return lenient;
}

}  // namespace

Result<DecodedConfiguration> decode_kube_proxy_configuration(std::string_view text) {
  DecodedConfiguration out;
  const std::vector<Value> documents = TRY(parse_documents(text, out.warnings));
  if (documents.size() != 1) return Error(cat("holds ", documents.size(), " documents: use exactly one"));
  const Value& document = documents.front();
  const Field root(document, kube::Strictness::Strict);
  if (document.as_object() == nullptr) return root.not_a("an object");
  TRY(is_exactly(root.member("apiVersion"), kApiVersion));
  TRY(is_exactly(root.member("kind"), kKind));
  TRY(decode_members(root, "", out));
  complete(out.configuration);
  const auto complaints = check(out.configuration);
  if (!complaints.empty()) return Error(cat(complaints.front().path, ": ", complaints.front().what));
  return out;
}

Status set_flag(K& configuration, std::string_view flag, const std::string& text, Occurrence occurrence) {
  for (const Setting& setting : kube_proxy_settings()) {
    if (setting.flag != flag) continue;
    TRY(std::visit([&](auto slot) { return set_text(setting, text, occurrence, configuration, slot); }, setting.slot));
  }
  return {};
}

// kubernetes v1.36 pkg/proxy/apis/config/v1alpha1/defaults.go.
void complete(K& configuration) {
  const auto own = net::Ip::parse_sloppy(configuration.bind_address);
  const bool v6 = own && !own->is_v4();
  const auto with_port = [](std::string& address, std::string_view fallback, std::uint16_t port) {
    if (address.empty()) address = fallback;
    if (const auto listen = parse_listen(address, port)) address = net::host_port(listen->address, listen->port);
  };
  with_port(configuration.healthz_bind_address, v6 ? "::" : "0.0.0.0", kHealthzPort);
  with_port(configuration.metrics_bind_address, v6 ? "::1" : "127.0.0.1", kMetricsPort);
  if (configuration.mode == "nftables" && configuration.node_port_addresses.empty()) {
    configuration.node_port_addresses = {"primary"};
  }
}

std::vector<Complaint> check(const K& configuration) {
  std::vector<Complaint> out;
  const auto needs = [&](std::string_view mode, std::string_view path, const std::string& value) {
    if (configuration.detect_local_mode == mode && value.empty()) {
      out.push_back({std::string(path), cat("is empty, but detectLocalMode is ", mode)});
    }
  };
  needs("BridgeInterface", "detectLocal.bridgeInterface", configuration.detect_local_bridge_interface);
  needs("InterfaceNamePrefix", "detectLocal.interfaceNamePrefix", configuration.detect_local_interface_name_prefix);
  const auto within = [&](std::string_view mode, Duration shortest, Duration longest) {
    if (shortest <= longest) return;
    out.push_back({cat(mode, ".minSyncPeriod"),
                   cat(format_duration(shortest), " is longer than syncPeriod, ", format_duration(longest))});
  };
  within("iptables", configuration.iptables_min_sync_period, configuration.iptables_sync_period);
  within("ipvs", configuration.ipvs_min_sync_period, configuration.ipvs_sync_period);
  within("nftables", configuration.nftables_min_sync_period, configuration.nftables_sync_period);
  return out;
}

Value to_value(const K& configuration) {
  Value out{Value::Object()};
  out.set("apiVersion", Value(kApiVersion));
  bool kind_written = false;
  for (const Setting& setting : kube_proxy_settings()) {
    if (!kind_written && setting.path > "kind") {
      out.set("kind", Value(kKind));
      kind_written = true;
    }
    std::visit(
        [&](auto slot) {
          if constexpr (!std::is_same_v<decltype(slot), std::monostate>) {
            put(out, setting.path, written(configuration.*slot));
          }
        },
        setting.slot);
  }
  return out;
}

std::string to_yaml(const K& configuration) { return to_yaml(to_value(configuration)); }

std::ostream& operator<<(std::ostream& out, const K& configuration) { return out << to_yaml(configuration); }

}  // namespace fairlead::agent
