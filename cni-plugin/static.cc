// static: hands out the addresses that the configuration or the runtime names, and keeps no account of them.
#include <algorithm>

#include "cni-plugin/fields.h"
#include "cni-plugin/plugin.h"

namespace fairlead::cni {
namespace {

Result<IpConfig> parse_address(std::string_view text, std::string_view where) {
  auto address = net::InterfaceAddress::parse(base::trim(text));
  if (!address) return std::move(address).error().with_context(where).with_code(code::kInvalidConfig);
  return IpConfig{std::nullopt, *address, std::nullopt};
}

Result<std::vector<IpConfig>> parse_addresses(const std::vector<std::string>& texts, std::string_view where) {
  std::vector<IpConfig> ips;
  for (const std::string& text : texts) ips.push_back(TRY(parse_address(text, where)));
  return ips;
}

// Those of CNI_ARGS come on top of the configuration's; a GATEWAY is that of every address in whose subnet it lies.
Status add_arguments(const Call& call, std::vector<IpConfig>& ips) {
  if (const auto addresses = call.args.find("IP"); addresses != call.args.end()) {
    for (const std::string_view text : base::split(addresses->second, ','))
      ips.push_back(TRY(parse_address(text, "CNI_ARGS: IP")));
  }
  const auto gateways = call.args.find("GATEWAY");
  if (gateways == call.args.end()) return {};
  for (const std::string_view text : base::split(gateways->second, ',')) {
    auto gateway = net::Ip::parse(base::trim(text));
    if (!gateway)
      return std::move(gateway).error().with_context("CNI_ARGS: GATEWAY").with_code(code::kInvalidEnvironment);
    for (IpConfig& ip : ips) {
      if (ip.address.subnet().contains(*gateway)) ip.gateway = *gateway;
    }
  }
  return {};
}

// What the runtime asks for stands in for what the configuration and CNI_ARGS say: runtimeConfig before args.
Result<std::vector<IpConfig>> addresses(const Call& call, const Fields& config, const Fields& ipam) {
  const Fields runtime = TRY(config.object("runtimeConfig"));
  const auto from_runtime = TRY(runtime.texts("ips"));
  if (!from_runtime.empty()) return parse_addresses(from_runtime, "runtimeConfig.ips");
  const Fields args = TRY(config.object("args"));
  const Fields cni_args = TRY(args.object("cni"));
  const auto from_args = TRY(cni_args.texts("ips"));
  if (!from_args.empty()) return parse_addresses(from_args, "args.cni.ips");
  std::vector<IpConfig> ips;
  for (const Fields& fields : TRY(ipam.objects("addresses"))) {
    const auto text = TRY(fields.text("address"));
    if (!text) return fields.error("address", "is missing");
    ips.push_back(TRY(parse_address(*text, fields.path_of("address"))));
    ips.back().gateway = TRY(fields.ip("gateway"));
  }
  TRY(add_arguments(call, ips));
  return ips;
}

Result<NetResult> add(const Call& call, const World&) {
  const Fields config = TRY(Fields::of(call.config));
  if (!config.has("ipam")) return config.error("ipam", "is missing");
  const Fields ipam = TRY(config.object("ipam"));
  NetResult result;
  result.ips = TRY(addresses(call, config, ipam));
  result.routes = TRY(parse_routes(ipam.raw("routes"), ipam.path_of("routes")));
  result.dns = TRY(parse_dns(ipam.raw("dns"), ipam.path_of("dns")));
  const auto of_family = [&](net::Family family) {
    return std::count_if(result.ips.begin(), result.ips.end(),
                         [&](const IpConfig& ip) { return ip.address.family() == family; });
  };
  if (call.version < "0.3.0" && (of_family(net::Family::V4) > 1 || of_family(net::Family::V6) > 1))
    return failure(code::kInvalidConfig, "CNI version ", call.version,
                   " does not support more than 1 address per family");
  return result;
}

Status del(const Call&, const World&) { return {}; }

// Every address and route is still in the result of the whole chain.
Status check(const Call& call, const World& world) {
  const NetResult want = TRY(add(call, world));
  for (const IpConfig& ip : want.ips) {
    const auto same = [&](const IpConfig& told) { return told.address == ip.address; };
    if (std::none_of(call.previous->ips.begin(), call.previous->ips.end(), same))
      return failure(code::kInternal, "prevResult lacks the address ", ip.address.to_string());
  }
  for (const Route& route : want.routes) {
    const auto same = [&](const Route& told) {
      return told.destination == route.destination && (!route.gateway || told.gateway == route.gateway);
    };
    if (std::none_of(call.previous->routes.begin(), call.previous->routes.end(), same))
      return failure(code::kInternal, "prevResult lacks the route to ", route.destination.to_string());
  }
  return {};
}

}  // namespace

const Plugin kStatic = {
    .name = "static",
    .oldest_version = kVersions[0],
    .about = "hands out the addresses of the configuration",
    .leaves_traces = false,
    .add = add,
    .del = del,
    .check = check,
};

}  // namespace fairlead::cni
