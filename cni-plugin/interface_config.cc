#include "cni-plugin/interface_config.h"

#include "base/strings.h"
#include "cni-plugin/delegate.h"
#include "cni-plugin/masquerade.h"

namespace fairlead::cni {
namespace {

constexpr std::int64_t kLeastMtu = 68;  // linux v6.1 include/uapi/linux/if_ether.h ETH_MIN_MTU
constexpr std::int64_t kMostMtu = 65535;

Result<std::optional<net::Mac>> read_mac(const std::optional<std::string>& text, std::string_view where) {
  if (!text || text->empty()) return std::optional<net::Mac>();
  const auto mac = net::parse_mac(*text);
  if (!mac) return failure(code::kInvalidConfig, where, ": ", mac.error().message());
  if ((mac->front() & 1) != 0)
    return failure(code::kInvalidConfig, where, ": \"", *text,
                   "\" is a group's address; an interface's has an even first byte");
  return std::optional(*mac);
}

}  // namespace

Result<std::optional<net::Mac>> requested_mac(const Call& call, const Fields& config,
                                              const std::optional<std::string>& configured) {
  const Fields runtime = TRY(config.object("runtimeConfig"));
  const Fields all_args = TRY(config.object("args"));
  const Fields args = TRY(all_args.object("cni"));
  std::optional<std::string> variable;
  if (const auto found = call.args.find("MAC"); found != call.args.end()) variable = found->second;
  const auto of_runtime = TRY(runtime.text("mac"));
  const auto of_args = TRY(args.text("mac"));
  if (auto mac = TRY(read_mac(of_runtime, runtime.path_of("mac")))) return mac;
  if (auto mac = TRY(read_mac(of_args, args.path_of("mac")))) return mac;
  if (auto mac = TRY(read_mac(variable, "CNI_ARGS MAC"))) return mac;
  return read_mac(configured, config.path_of("mac"));
}

Result<std::uint32_t> read_mtu(const Fields& config) {
  const std::int64_t mtu = TRY(config.integer("mtu", 0, kMostMtu)).value_or(0);
  if (mtu != 0 && mtu < kLeastMtu)
    return config.error("mtu", base::cat(mtu, " is too small; allowed is ", kLeastMtu, " to ", kMostMtu, ", or 0"));
  return static_cast<std::uint32_t>(mtu);
}

Result<bool> read_masquerade(const Fields& config) {
  TRY(check_masquerade_backend(config));
  return TRY(config.boolean("ipMasq")).value_or(false);
}

Status override_dns(const Fields& config, NetResult& result) {
  if (!config.has("dns")) return {};
  Dns dns = TRY(parse_dns(config.raw("dns"), config.path_of("dns")));
  if (!dns.empty()) result.dns = std::move(dns);
  return {};
}

Result<NetResult> addresses_of(const Call& call, const World& world, std::uint32_t interface) {
  NetResult given = TRY(ipam_add(call, world));
  if (given.ips.empty()) return Error("the IPAM plugin gave no address");
  given.interfaces.clear();
  for (IpConfig& ip : given.ips) ip.interface = interface;
  return given;
}

}  // namespace fairlead::cni
