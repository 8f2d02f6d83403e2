#include "cni-plugin/firewalld.h"

#include <cstdlib>
#include <optional>

#include "base/strings.h"
#include "cni-plugin/call.h"
#include "net/dbus.h"

namespace fairlead::cni {
namespace {

namespace dbus = net::dbus;
using base::cat;

constexpr char kService[] = "org.fedoraproject.FirewallD1";
constexpr std::chrono::milliseconds kLimit{2000};

dbus::Method zone_method(const char* name) {
  return {kService, "/org/fedoraproject/FirewallD1", cat(kService, ".zone"), name};
}
std::string source_of(const net::Ip& pod) { return net::Prefix::host(pod).to_string(); }

// None when it does not run.
Result<std::optional<dbus::Bus>> find_firewalld(bool required) {
  auto bus = TRY(dbus::Bus::open(dbus::system_bus_paths(std::getenv("DBUS_SYSTEM_BUS_ADDRESS")), kLimit));
  if (bus && TRY(bus->has_owner(kService))) return bus;
  if (required) return failure(code::kInvalidConfig, "backend: firewalld does not run here");
  return std::optional<dbus::Bus>();
}

// "ZONE_ALREADY_SET: '10.1.0.5/32' already bound to 'trusted'": the word is what tells errors apart.
bool says(const dbus::Message& answer, std::string_view word) {
  return !answer.error.empty() && std::string_view(answer.text).substr(0, word.size()) == word;
}
Error error_of(const dbus::Message& answer, const std::string& source) {
  return failure(code::kInternal, "firewalld: ", source, ": ", answer.text.empty() ? answer.error : answer.text);
}

}  // namespace

Status add_sources(const std::vector<net::Ip>& pods, const std::string& zone, bool required) {
  auto bus = TRY(find_firewalld(required));
  if (!bus) return {};
  for (const net::Ip& pod : pods) {
    const dbus::Message answer = TRY(bus->call(zone_method("addSource"), {zone, source_of(pod)}));
    if (!answer.error.empty() && !says(answer, "ZONE_ALREADY_SET")) return error_of(answer, source_of(pod));
  }
  return {};
}

Status check_sources(const std::vector<net::Ip>& pods, const std::string& zone, bool required) {
  auto bus = TRY(find_firewalld(required));
  if (!bus) return {};
  for (const net::Ip& pod : pods) {
    const dbus::Message answer = TRY(bus->call(zone_method("querySource"), {zone, source_of(pod)}));
    if (!answer.error.empty()) return error_of(answer, source_of(pod));
    if (!answer.truth) return Error(cat("firewalld: ", source_of(pod), " is no source of zone ", zone));
  }
  return {};
}

Status remove_sources(const std::vector<net::Ip>& pods) {
  if (pods.empty()) return {};
  auto bus = TRY(find_firewalld(false));
  if (!bus) return {};
  for (const net::Ip& pod : pods) {
    const dbus::Message zone = TRY(bus->call(zone_method("getZoneOfSource"), {source_of(pod)}));
    if (!zone.error.empty()) return error_of(zone, source_of(pod));
    if (zone.text.empty()) continue;
    const dbus::Message answer = TRY(bus->call(zone_method("removeSource"), {zone.text, source_of(pod)}));
    if (!answer.error.empty() && !says(answer, "UNKNOWN_SOURCE")) return error_of(answer, source_of(pod));
  }
  return {};
}

}  // namespace fairlead::cni
