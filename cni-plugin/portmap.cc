// portmap: host ports. A connection to one is sent on to the pod by its first packet (DNAT), from outside and from the
// host itself. Who would get the answer past the host, the pod itself, its neighbours and localhost, is masqueraded.
#include "cni-plugin/portmap.h"

#include <net/if.h>
#include <netinet/in.h>

#include <array>
#include <cstdio>

#include "base/strings.h"
#include "cni-plugin/fields.h"
#include "cni-plugin/flows.h"
#include "cni-plugin/host_route.h"
#include "cni-plugin/plugin.h"
#include "net/netlink_message.h"
#include "net/netns.h"

namespace fairlead::cni {
namespace {

using net::Family;

constexpr std::uint8_t kDefaultMarkBit = 13;  // Kubernetes has 14 and 15, Calico 16 to 31

struct Mapping {
  std::uint16_t host_port = 0, container_port = 0;
  std::uint8_t protocol = 0;
  std::optional<net::Ip> host_ip;  // unspecified: every address of its family
};

struct Settings {
  bool snat = true;
  bool masquerade_all = false;
  std::uint8_t mark_bit = kDefaultMarkBit;
  Conditions conditions_v4, conditions_v6;
  std::vector<Mapping> mappings;

  const Conditions& conditions(Family family) const { return family == Family::V4 ? conditions_v4 : conditions_v6; }
};

Result<std::uint8_t> read_protocol(const Fields& mapping) {
  const auto written = TRY(mapping.text("protocol"));
  std::string name;
  if (written) name = *written;
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (name == "tcp") return std::uint8_t{IPPROTO_TCP};
  if (name == "udp") return std::uint8_t{IPPROTO_UDP};
  if (name == "sctp") return std::uint8_t{IPPROTO_SCTP};
  return mapping.error("protocol", base::cat("\"", name, "\" is none of tcp, udp, sctp"));
}

Result<std::uint16_t> read_port(const Fields& mapping, std::string_view key) {
  const auto port = TRY(mapping.integer(key, 1, 65535));
  if (!port) return mapping.error(key, "is missing; a port from 1 to 65535 is needed");
  return static_cast<std::uint16_t>(*port);
}

Result<Mapping> read_mapping(const Fields& fields) {
  return Mapping{.host_port = TRY(read_port(fields, "hostPort")),
                 .container_port = TRY(read_port(fields, "containerPort")),
                 .protocol = TRY(read_protocol(fields)),
                 .host_ip = TRY(fields.ip("hostIP"))};
}

Status check_backend(const Fields& config) {
  const auto backend = TRY(config.text("backend"));
  if (!backend || backend->empty() || *backend == "iptables" || *backend == "nftables") return {};
  return config.error("backend", base::cat("\"", *backend, "\" is neither iptables nor nftables"));
}

// externalSetMarkChain names a chain of iptables by whose mark somebody else masquerades, kube-proxy for one. Here it
// is done by our own table, whether that chain is there or not (docs/adr/0020).
Result<std::uint8_t> read_mark_bit(const Fields& config) {
  const auto bit = TRY(config.integer("markMasqBit", 0, 31));
  const std::string chain = TRY(config.text("externalSetMarkChain")).value_or("");
  if (bit && !chain.empty())
    return config.error("externalSetMarkChain", "cannot be set together with markMasqBit: the chain sets the mark");
  return static_cast<std::uint8_t>(bit.value_or(kDefaultMarkBit));
}

Result<Conditions> read_conditions(const Fields& config, std::string_view key, Family family) {
  const auto words = TRY(config.texts(key));
  return TRY_CONTEXT(parse_conditions(words, family), config.path_of(key));
}

Result<Settings> read_settings(const Fields& config) {
  Settings settings;
  TRY(check_backend(config));
  settings.snat = TRY(config.boolean("snat")).value_or(true);
  settings.masquerade_all = TRY(config.boolean("masqAll")).value_or(false);
  settings.mark_bit = TRY(read_mark_bit(config));
  settings.conditions_v4 = TRY(read_conditions(config, "conditionsV4", Family::V4));
  settings.conditions_v6 = TRY(read_conditions(config, "conditionsV6", Family::V6));
  const Fields runtime = TRY(config.object("runtimeConfig"));
  for (const Fields& mapping : TRY(runtime.objects("portMappings"))) {
    settings.mappings.push_back(TRY(read_mapping(mapping)));
  }
  return settings;
}

// Of the interface that the runtime attaches; where the result does not say whose an address is, it is that one's.
std::optional<net::InterfaceAddress> pod_address(const Call& call, Family family) {
  for (const IpConfig& ip : call.previous->ips) {
    if (ip.address.family() != family) continue;
    if (!ip.interface || *ip.interface >= call.previous->interfaces.size()) return ip.address;
    const Interface& interface = call.previous->interfaces[*ip.interface];
    if (interface.name == call.attachment.ifname && !interface.sandbox.empty()) return ip.address;
  }
  return std::nullopt;
}

bool applies_to(const Mapping& mapping, Family family) {
  return !mapping.host_ip || mapping.host_ip->family() == family;
}

Claim claim_of(const Mapping& mapping, const net::Ip& pod, const Conditions& under) {
  const std::string port = (under.empty() ? std::string() : id_of(under)) + bytes_of(std::uint32_t{mapping.protocol}) +
                           port_bytes(mapping.host_port);
  const std::string to = port_bytes(mapping.container_port) + bytes_of(pod);
  if (mapping.host_ip && !mapping.host_ip->is_unspecified()) {
    const SetId set = under.empty() ? SetId::Bound4 : SetId::WhenBound4;
    return {of_family(set, pod.family()), element_of(bytes_of(*mapping.host_ip) + port, to)};
  }
  return {of_family(under.empty() ? SetId::Ports4 : SetId::WhenPorts4, pod.family()), element_of(port, to)};
}

void add_source(Claims& claims, const net::Ip& pod, const net::Prefix& from, const Settings& settings) {
  const std::uint8_t bit = settings.mark_bit;
  const std::uint32_t code = code_of(from.length, bit);
  claims.elements.push_back(
      {of_family(SetId::Sources4, pod.family()), element_of(bytes_of(pod) + bytes_of(from.address) + bytes_of(code))});
  claims.extras.insert({Extra::Kind::Source, pod.family(), code});
  const Conditions& under = settings.conditions(pod.family());
  if (!under.empty()) claims.extras.insert({Extra::Kind::Source, pod.family(), code, under});
}

net::Prefix loopback() { return net::Prefix::of(net::Ip::v4(127, 0, 0, 0), 8); }

// A repeated host port is the last one's.
void add_port(Claims& claims, Claim claim) {
  std::erase_if(claims.elements, [&](const Claim& other) {
    return other.set == claim.set && other.element.key_view() == claim.element.key_view();
  });
  claims.elements.push_back(std::move(claim));
}

void add_family(Claims& claims, const Settings& settings, const net::InterfaceAddress& address) {
  const net::Ip& pod = address.address;
  const Conditions& under = settings.conditions(pod.family());
  bool any = false;
  bool by_localhost = false;
  for (const Mapping& mapping : settings.mappings) {
    if (!applies_to(mapping, pod.family())) continue;
    add_port(claims, claim_of(mapping, pod, under));
    if (!under.empty()) claims.extras.insert({Extra::Kind::When, pod.family(), 0, under});
    any = true;
    by_localhost =
        by_localhost || !mapping.host_ip || mapping.host_ip->is_unspecified() || mapping.host_ip->is_loopback();
  }
  if (!any || !settings.snat) return;
  const net::Ip none = pod.is_v4() ? net::Ip::v4(0, 0, 0, 0) : net::Ip();
  add_source(claims, pod, settings.masquerade_all ? net::Prefix::of(none, 0) : address.subnet(), settings);
  if (pod.is_v4() && by_localhost) add_source(claims, pod, loopback(), settings);
}

// Which set of host ports; its family; none when it is another set.
struct PortSet {
  SetId v4;
  Family family;
  bool is_bound() const { return v4 == SetId::Bound4 || v4 == SetId::WhenBound4; }
  bool is_when() const { return v4 == SetId::WhenPorts4 || v4 == SetId::WhenBound4; }
};
std::optional<PortSet> port_set(SetId set) {
  for (const SetId v4 : {SetId::Ports4, SetId::Bound4, SetId::WhenPorts4, SetId::WhenBound4}) {
    for (const Family family : {Family::V4, Family::V6}) {
      if (set == of_family(v4, family)) return PortSet{v4, family};
    }
  }
  return std::nullopt;
}

std::vector<UdpPort> udp_ports(const std::vector<Claim>& claims) {
  std::vector<UdpPort> ports;
  for (const Claim& claim : claims) {
    const auto of = port_set(claim.set);
    if (!of) continue;
    const Family family = of->family;
    const std::size_t address_size = family == Family::V4 ? 4 : 16;
    std::string_view key = claim.element.key_view();
    UdpPort port{.family = family, .host_ip = {}, .host_port = 0, .pod = {}};
    if (of->is_bound()) {
      port.host_ip = ip_of(key.substr(0, address_size));
      key.remove_prefix(address_size);
    }
    if (of->is_when()) key.remove_prefix(8);
    if (key[0] != IPPROTO_UDP) continue;
    port.host_port =
        static_cast<std::uint16_t>(static_cast<std::uint8_t>(key[4]) << 8 | static_cast<std::uint8_t>(key[5]));
    port.pod = ip_of(claim.element.data_view().substr(4, address_size));
    ports.push_back(port);
  }
  return ports;
}

// The link towards the pod: the bridge, or its own veth. A pod the host has no way to is not served from localhost.
Status open_localhost(const net::Ip& pod) {
  const auto route = host_route(pod);
  char name[IF_NAMESIZE];
  if (!route || ::if_indextoname(route->link, name) == nullptr) return {};
  const std::string key = base::cat("net/ipv4/conf/", name, "/route_localnet");
  const std::string now = TRY(net::read_sysctl(key));
  if (now == "1") return {};
  return net::write_sysctl(key, "1");
}

// Not worth failing a pod for: the flows end by themselves when their clients stop.
void report(const Status& status) {
  if (!status) std::fputs(base::cat("portmap: ", status.error().message(), "\n").c_str(), stderr);
}

Result<NetResult> add(const Call& call, const World&) {
  const Claims claims = TRY(port_claims(call));
  if (!claims.elements.empty()) {
    TRY(put_claims(call, claims));
    TRY(open_ports(claims));
  }
  return *call.previous;
}

Status del(const Call& call, const World&) {
  const std::vector<Claim> taken = TRY(take_claims(call, static_cast<Parts>(Part::Ports)));
  return close_ports(taken);
}

Status check(const Call& call, const World&) {
  const Claims claims = TRY(port_claims(call));
  return claims.elements.empty() ? Status() : check_claims(call, claims);
}

Status gc(const Call& call, const World&) { return sweep_claims(call, static_cast<Parts>(Part::Ports)); }

}  // namespace

Result<Claims> port_claims(const Call& call) {
  const Fields config = TRY(Fields::of(call.config));
  const Settings settings = TRY(read_settings(config));
  if (!call.previous) {
    return failure(code::kInvalidConfig,
                   "prevResult: is missing; portmap has to stand behind a plugin that makes an "
                   "interface");
  }
  Claims claims;
  for (const Family family : {Family::V4, Family::V6}) {
    if (const auto address = pod_address(call, family)) add_family(claims, settings, *address);
  }
  return claims;
}

Status open_ports(const Claims& claims) {
  for (const Claim& claim : claims.elements) {
    if (claim.set != SetId::Sources4 || claim.element.key_view().substr(4, 4) != bytes_of(loopback().address)) continue;
    TRY_CONTEXT(open_localhost(ip_of(claim.element.key_view().substr(0, 4))), "portmap: localhost");
  }
  report(end_stale_flows(udp_ports(claims.elements)));
  return {};
}

Status close_ports(const std::vector<Claim>& taken) {
  report(end_served_flows(udp_ports(taken)));
  return {};
}

const Plugin kPortmap{
    .name = "portmap",
    .oldest_version = "0.1.0",
    .about = "opens ports of the host that lead to the container",
    .leaves_traces = true,
    .add = add,
    .del = del,
    .check = check,
    .gc = gc,
};

}  // namespace fairlead::cni
