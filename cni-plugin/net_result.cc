#include "cni-plugin/net_result.h"

#include <algorithm>
#include <ostream>

#include "base/strings.h"
#include "cni-plugin/call.h"
#include "cni-plugin/fields.h"

namespace fairlead::cni {
namespace {

using base::Value;

constexpr std::int64_t kUint32Max = 0xffffffff;

// The three forms a result has had (SPEC.md, "Changes in CNI spec" of 0.3.0 and 1.0.0).
enum class Form { OneOfEachFamily, WithIpVersion, Plain };

Result<Form> form_of(std::string_view version) {
  if (std::find(std::begin(kVersions), std::end(kVersions), version) == std::end(kVersions))
    return failure(code::kInvalidConfig, "cniVersion: no result has the version \"", version, "\"");
  if (version < "0.3.0") return Form::OneOfEachFamily;
  return version < "1.0.0" ? Form::WithIpVersion : Form::Plain;
}

// A member that must be there, in a form that `parse` reads.
template <typename Parse>
auto required(const Fields& fields, std::string_view key, Parse parse) -> decltype(parse(std::string_view())) {
  const auto text = TRY(fields.text(key));
  if (!text) return fields.error(key, "is missing");
  auto value = parse(std::string_view(*text));
  if (!value) return std::move(value).error().with_context(fields.path_of(key)).with_code(code::kDecode);
  return value;
}

Result<std::optional<std::uint32_t>> number(const Fields& fields, std::string_view key) {
  const auto value = TRY(fields.integer(key, 0, kUint32Max));
  if (!value) return std::optional<std::uint32_t>();
  return std::optional(static_cast<std::uint32_t>(*value));
}

Result<Route> parse_route(const Fields& fields) {
  Route route;
  route.destination = TRY(required(fields, "dst", net::Prefix::parse));
  route.gateway = TRY(fields.ip("gw"));
  route.mtu = TRY(number(fields, "mtu"));
  route.advmss = TRY(number(fields, "advmss"));
  route.priority = TRY(number(fields, "priority"));
  route.table = TRY(number(fields, "table"));
  route.scope = TRY(number(fields, "scope"));
  return route;
}

Result<std::vector<Route>> routes_of(const Fields& fields) {
  return parse_routes(fields.raw("routes"), fields.path_of("routes"));
}

Result<Dns> dns_of(const Fields& fields) {
  Dns dns;
  dns.nameservers = TRY(fields.texts("nameservers"));
  dns.domain = TRY(fields.text("domain")).value_or("");
  dns.search = TRY(fields.texts("search"));
  dns.options = TRY(fields.texts("options"));
  return dns;
}

Result<Interface> parse_interface(const Fields& fields) {
  Interface interface;
  interface.name = TRY(fields.text("name")).value_or("");
  interface.mac = TRY(fields.text("mac")).value_or("");
  interface.sandbox = TRY(fields.text("sandbox")).value_or("");
  interface.mtu = TRY(number(fields, "mtu")).value_or(0);
  interface.socket_path = TRY(fields.text("socketPath")).value_or("");
  interface.pci_id = TRY(fields.text("pciID")).value_or("");
  return interface;
}

Result<IpConfig> parse_ip(const Fields& fields, std::size_t interfaces) {
  IpConfig ip;
  ip.address = TRY(required(fields, "address", net::InterfaceAddress::parse));
  ip.gateway = TRY(fields.ip("gateway"));
  ip.interface = TRY(number(fields, "interface"));
  // An IPAM plugin knows no interfaces; what it says of them means nothing.
  if (interfaces == 0) ip.interface.reset();
  if (ip.interface && *ip.interface >= interfaces)
    return fields.error("interface", base::cat(*ip.interface, " is no index into the ", interfaces, " interfaces"));
  return ip;
}

// ip4 or ip6 of 0.1.0 and 0.2.0.
Status parse_one_of_family(const Fields& fields, NetResult& result) {
  if (fields.empty()) return {};
  IpConfig ip;
  ip.address = TRY(required(fields, "ip", net::InterfaceAddress::parse));
  ip.gateway = TRY(fields.ip("gateway"));
  result.ips.push_back(ip);
  for (Route& route : TRY(routes_of(fields))) result.routes.push_back(std::move(route));
  return {};
}

void set_text(Value& object, const char* key, const std::string& text) {
  if (!text.empty()) object.set(key, Value(text));
}

void set_number(Value& object, const char* key, const std::optional<std::uint32_t>& number) {
  if (number) object.set(key, Value(std::int64_t{*number}));
}

void set_texts(Value& object, const char* key, const std::vector<std::string>& texts) {
  if (texts.empty()) return;
  Value::Array list;
  for (const std::string& text : texts) list.emplace_back(text);
  object.set(key, Value(std::move(list)));
}

Value route_json(const Route& route) {
  Value out{Value::Object()};
  out.set("dst", Value(route.destination.to_string()));
  if (route.gateway) out.set("gw", Value(route.gateway->to_string()));
  set_number(out, "mtu", route.mtu);
  set_number(out, "advmss", route.advmss);
  set_number(out, "priority", route.priority);
  set_number(out, "table", route.table);
  set_number(out, "scope", route.scope);
  return out;
}

Value dns_json(const Dns& dns) {
  Value out{Value::Object()};
  set_texts(out, "nameservers", dns.nameservers);
  set_text(out, "domain", dns.domain);
  set_texts(out, "search", dns.search);
  set_texts(out, "options", dns.options);
  return out;
}

Value interface_json(const Interface& interface, Form form) {
  Value out{Value::Object()};
  out.set("name", Value(interface.name));
  set_text(out, "mac", interface.mac);
  if (form == Form::Plain && interface.mtu != 0) out.set("mtu", Value(std::int64_t{interface.mtu}));
  set_text(out, "sandbox", interface.sandbox);
  if (form == Form::Plain) {
    set_text(out, "socketPath", interface.socket_path);
    set_text(out, "pciID", interface.pci_id);
  }
  return out;
}

Value ip_json(const IpConfig& ip, Form form) {
  Value out{Value::Object()};
  if (form == Form::WithIpVersion) out.set("version", Value(ip.address.family() == net::Family::V4 ? "4" : "6"));
  set_number(out, "interface", ip.interface);
  out.set("address", Value(ip.address.to_string()));
  if (ip.gateway) out.set("gateway", Value(ip.gateway->to_string()));
  return out;
}

template <typename Item, typename ToJson>
void set_list(Value& object, const char* key, const std::vector<Item>& items, ToJson&& item_json) {
  if (items.empty()) return;
  Value::Array list;
  for (const Item& item : items) list.push_back(item_json(item));
  object.set(key, Value(std::move(list)));
}

// The first address of the family with its routes; null when there is none.
Value one_of_family(const NetResult& result, net::Family family) {
  const auto of_family = [family](const IpConfig& ip) { return ip.address.family() == family; };
  const auto ip = std::find_if(result.ips.begin(), result.ips.end(), of_family);
  if (ip == result.ips.end()) return Value();
  Value out{Value::Object()};
  out.set("ip", Value(ip->address.to_string()));
  if (ip->gateway) out.set("gateway", Value(ip->gateway->to_string()));
  std::vector<Route> routes;
  for (const Route& route : result.routes) {
    if (route.destination.family() == family) routes.push_back(route);
  }
  set_list(out, "routes", routes, route_json);
  return out;
}

}  // namespace

Result<NetResult> parse_result(const Value& json, std::string_view version) {
  const Fields fields = TRY(Fields::of(json));
  const auto own_version = TRY(fields.text("cniVersion"));
  const Form form = TRY(form_of(own_version && !own_version->empty() ? std::string_view(*own_version) : version));
  NetResult result;
  if (form == Form::OneOfEachFamily) {
    for (const char* key : {"ip4", "ip6"}) {
      const Fields one = TRY(fields.object(key));
      TRY(parse_one_of_family(one, result));
    }
  } else {
    for (const Fields& interface : TRY(fields.objects("interfaces")))
      result.interfaces.push_back(TRY(parse_interface(interface)));
    for (const Fields& ip : TRY(fields.objects("ips")))
      result.ips.push_back(TRY(parse_ip(ip, result.interfaces.size())));
    result.routes = TRY(routes_of(fields));
  }
  result.dns = TRY(parse_dns(fields.raw("dns"), "dns"));
  return result;
}

Result<Value> to_json(const NetResult& result, std::string_view version) {
  const Form form = TRY(form_of(version));
  Value out{Value::Object()};
  out.set("cniVersion", Value(version));
  if (form == Form::OneOfEachFamily) {
    Value ip4 = one_of_family(result, net::Family::V4);
    Value ip6 = one_of_family(result, net::Family::V6);
    if (ip4.is_null() && ip6.is_null())
      return failure(code::kInvalidConfig, "a result of cniVersion ", version, " needs an address, and there is none");
    if (!ip4.is_null()) out.set("ip4", std::move(ip4));
    if (!ip6.is_null()) out.set("ip6", std::move(ip6));
  } else {
    set_list(out, "interfaces", result.interfaces, [form](const Interface& i) { return interface_json(i, form); });
    set_list(out, "ips", result.ips, [form](const IpConfig& ip) { return ip_json(ip, form); });
    set_list(out, "routes", result.routes, route_json);
  }
  out.set("dns", dns_json(result.dns));
  return out;
}

Result<std::vector<Route>> parse_routes(const Value& list, std::string_view path) {
  std::vector<Route> routes;
  if (list.is_null()) return routes;
  if (list.as_array() == nullptr)
    return failure(code::kDecode, path, ": must be a list of objects, not ", list.type_name());
  for (const Value& item : *list.as_array()) {
    const Fields fields = TRY(Fields::of(item, base::cat(path, "[", routes.size(), "]")));
    routes.push_back(TRY(parse_route(fields)));
  }
  return routes;
}

Result<Dns> parse_dns(const Value& object, std::string_view path) {
  const Fields fields = TRY(Fields::of(object, std::string(path)));
  return dns_of(fields);
}

std::ostream& operator<<(std::ostream& out, const NetResult& result) {
  const auto json = to_json(result, kVersions[std::size(kVersions) - 1]);
  return out << (json ? base::to_json(*json) : json.error().message());
}

}  // namespace fairlead::cni
