// firewall: the host forwards what goes to and comes from the container also where iptables drops what nobody asked
// for (docs/adr/0017), and `ingressPolicy` says which bridges may talk to each other.
#include "cni-plugin/firewall.h"

#include "base/strings.h"
#include "cni-plugin/fields.h"
#include "cni-plugin/marks.h"
#include "cni-plugin/plugin.h"

namespace fairlead::cni {
namespace {

enum class Ingress : std::uint8_t { Open, SameBridge, Isolated };

constexpr std::size_t kMaxChain = 28;  // XT_EXTENSION_MAXNAMELEN, less its zero

Result<Ingress> read_ingress(const Fields& config) {
  const std::string policy = TRY(config.text("ingressPolicy")).value_or("");
  if (policy.empty() || policy == "open") return Ingress::Open;
  if (policy == "same-bridge") return Ingress::SameBridge;
  if (policy == "isolated") return Ingress::Isolated;
  return config.error("ingressPolicy", base::cat("\"", policy, "\" is none of open, same-bridge, isolated"));
}

enum class Backend : std::uint8_t { Ours, OursAndFirewalld, Firewalld };

// All of them do what this plugin does; firewalld is asked besides, where it runs or where it has to.
Result<Backend> read_backend(const Fields& config) {
  const std::string backend = TRY(config.text("backend")).value_or("");
  if (backend.empty() || backend == "auto") return Backend::OursAndFirewalld;
  if (backend == "iptables" || backend == "nftables") return Backend::Ours;
  if (backend == "firewalld") return Backend::Firewalld;
  return config.error("backend", base::cat("\"", backend, "\" is none of auto, iptables, nftables, firewalld"));
}

Result<std::string> read_zone(const Fields& config) {
  const std::string zone = TRY(config.text("firewalldZone")).value_or("");
  return zone.empty() ? "trusted" : zone;
}

Result<std::string> read_admin_chain(const Fields& config) {
  const std::string chain = TRY(config.text("iptablesAdminChainName")).value_or("");
  if (chain.empty()) return std::string("CNI-ADMIN");
  if (chain.size() > kMaxChain) {
    return config.error("iptablesAdminChainName", base::cat("\"", chain, "\" is longer than ", kMaxChain, " letters"));
  }
  return chain;
}

bool is_host_end(const Interface& interface) { return interface.sandbox.empty(); }

// The bridge plugin's result: the bridge first, then the host end of the veth.
Result<std::string> bridge_of(const Fields& config, const NetResult& previous) {
  if (!previous.interfaces.empty() && is_host_end(previous.interfaces[0])) return previous.interfaces[0].name;
  return config.error("ingressPolicy", "needs a bridge as the first interface of prevResult");
}

Status add_ingress(const Call& call, const Fields& config, Ingress ingress, Claims& claims) {
  if (ingress == Ingress::Open) return {};
  const std::string bridge = interface_bytes(TRY(bridge_of(config, *call.previous)));
  claims.elements.push_back({SetId::FenceUsers, element_of(bridge + digest_bytes(element_mark(call.attachment)))});
  claims.elements.push_back({SetId::Fences, element_of(bridge)});
  if (ingress == Ingress::SameBridge) claims.elements.push_back({SetId::FenceLoops, element_of(bridge + bridge)});
  if (ingress != Ingress::Isolated) return {};
  for (std::size_t i = 1; i < call.previous->interfaces.size(); ++i) {
    const Interface& interface = call.previous->interfaces[i];
    if (!is_host_end(interface)) continue;
    claims.elements.push_back({SetId::ClosedPorts, element_of(interface_bytes(interface.name))});
  }
  return {};
}

Result<NetResult> add(const Call& call, const World&) {
  const Claims claims = TRY(firewall_claims(call));
  TRY(put_claims(call, claims));
  return *call.previous;
}
Status del(const Call& call, const World&) {
  TRY(take_claims(call, static_cast<Parts>(Part::Firewall)));
  return {};
}
Status check(const Call& call, const World&) {
  const Claims claims = TRY(firewall_claims(call));
  return check_claims(call, claims);
}
Status gc(const Call& call, const World&) { return sweep_claims(call, static_cast<Parts>(Part::Firewall)); }

}  // namespace

Result<Claims> firewall_claims(const Call& call) {
  const Fields config = TRY(Fields::of(call.config));
  Claims claims;
  const Backend backend = TRY(read_backend(config));
  const std::string zone = TRY(read_zone(config));
  if (backend != Backend::Ours) claims.firewalld_zone = zone;
  claims.needs_firewalld = backend == Backend::Firewalld;
  claims.admin_chain = TRY(read_admin_chain(config));
  const Ingress ingress = TRY(read_ingress(config));
  if (!call.previous) {
    return failure(code::kInvalidConfig,
                   "prevResult: is missing; firewall has to stand behind a plugin that makes an interface");
  }
  for (const IpConfig& ip : call.previous->ips) {
    const net::Ip& address = ip.address.address;
    claims.elements.push_back({of_family(SetId::Open4, address.family()), element_of(bytes_of(address))});
  }
  TRY(add_ingress(call, config, ingress, claims));
  return claims;
}

const Plugin kFirewall{
    .name = "firewall",
    .oldest_version = "0.4.0",
    .about = "lets the host forward what goes to and comes from the container",
    .leaves_traces = true,
    .add = add,
    .del = del,
    .check = check,
    .gc = gc,
};

}  // namespace fairlead::cni
