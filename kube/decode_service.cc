// Service, from spec and status; rules of kubernetes v1.36 pkg/proxy/serviceport.go.
#include <algorithm>

#include "base/strings.h"
#include "kube/decode_kinds.h"

namespace fairlead::kube {
namespace {

constexpr std::string_view kNone = "None";

Result<std::optional<ServicePort>> decode_port(const Field& item) {
  TRY(item.object({"name", "protocol", "appProtocol", "port", "targetPort", "nodePort"}));
  const Field name = item.member("name");
  const Field protocol = item.member("protocol");
  const Field port = item.member("port");
  const Field node_port = item.member("nodePort");
  ServicePort out;
  out.name = TRY(name.text());
  const auto known_protocol = TRY(protocol.choice(kProtocols, Protocol::Tcp));
  out.port = TRY(port.port());
  out.node_port = TRY(node_port.optional_port());
  if (item.strict() && out.port == 0) return port.error("is missing (1-65535)");
  if (!known_protocol || out.port == 0) return std::optional<ServicePort>();
  out.protocol = *known_protocol;
  return std::optional<ServicePort>(std::move(out));
}

// The rules by which an API server keeps (name), (protocol, port) and (protocol, nodePort) unique.
Status check_against_others(const Field& item, const ServicePort& port, const std::vector<ServicePort>& others) {
  for (const ServicePort& other : others) {
    if (port.name == other.name) {
      const Field name = item.member("name");
      return name.error(port.name.empty() ? "is missing; with several ports each needs its own"
                                          : base::cat("\"", port.name, "\" is the name of another port too"));
    }
    if (port.protocol != other.protocol) continue;
    const Field number = item.member(port.port == other.port ? "port" : "nodePort");
    if (port.port == other.port || (port.node_port != 0 && port.node_port == other.node_port)) {
      return number.error(base::cat(port.port == other.port ? port.port : port.node_port, " is taken by another ",
                                    to_string(port.protocol), " port"));
    }
  }
  return {};
}

Status decode_ports(const Field& spec, Service* out) {
  const Field ports = spec.member("ports");
  const auto read_item = [&](const Field& item) -> Status {
    auto port = TRY(decode_port(item));
    if (!port) return {};
    if (spec.strict()) TRY(check_against_others(item, *port, out->ports));
    out->ports.push_back(std::move(*port));
    return {};
  };
  TRY(ports.each(read_item));
  if (spec.strict() && out->ports.empty() && !out->headless && out->type != ServiceType::ExternalName) {
    return ports.error("is missing (at least one port)");
  }
  return {};
}

// An address that traffic can be sent to; else an error where errors are told, and nothing elsewhere.
Result<std::optional<net::Ip>> service_ip(const Field& item) {
  const auto ip = TRY(item.ip());
  if (!ip || is_service_address(*ip)) return ip;
  if (item.strict()) return item.not_a("an address of a service (not unspecified, loopback or multicast)");
  return std::optional<net::Ip>();
}

Result<std::vector<net::Ip>> decode_ips(const Field& list) {
  std::vector<net::Ip> out;
  const auto read_item = [&](const Field& item) -> Status {
    if (const auto ip = TRY(service_ip(item))) out.push_back(*ip);
    return {};
  };
  TRY(list.each(read_item));
  return out;
}

// spec.clusterIPs, else spec.clusterIP; "None" in either makes the service headless.
Status decode_cluster_ips(const Field& spec, Service* out) {
  const Field single = spec.member("clusterIP");
  const Field plural = spec.member("clusterIPs");
  const std::string first = TRY(single.text());
  const base::Value::Array* several = plural.value().as_array();
  const bool plural_none = several != nullptr && std::any_of(several->begin(), several->end(), [](const auto& item) {
                             return item.as_string() != nullptr && *item.as_string() == kNone;
                           });
  out->headless = first == kNone || plural_none;
  if (out->headless) return {};
  out->cluster_ips = TRY(decode_ips(plural));
  const auto single_ip = TRY(service_ip(single));
  if (out->cluster_ips.empty() && single_ip) out->cluster_ips.push_back(*single_ip);
  if (!spec.strict()) return {};
  if (single_ip && out->cluster_ips.front() != *single_ip) {
    return single.not_a(base::cat("the first of spec.clusterIPs (", out->cluster_ips.front().to_string(), ")"));
  }
  if (out->cluster_ips.size() > 2) return plural.error("has more than two addresses (one per family)");
  if (out->cluster_ips.size() == 2 && out->cluster_ips[0].family() == out->cluster_ips[1].family()) {
    return plural.error("has two addresses of one family");
  }
  return {};
}

Status decode_families(const Field& spec, Service* out) {
  const Field families = spec.member("ipFamilies");
  const auto read_item = [&](const Field& item) -> Status {
    const auto family = TRY(item.choice<net::Family>({{"IPv4", net::Family::V4}, {"IPv6", net::Family::V6}}, {}));
    if (!family) return {};
    const std::size_t index = out->ip_families.size();
    if (item.strict() && index < out->cluster_ips.size() && out->cluster_ips[index].family() != *family) {
      return item.not_a(base::cat("the family of spec.clusterIPs[", index, "] (",
                                  net::to_string(out->cluster_ips[index].family()), ")"));
    }
    out->ip_families.push_back(*family);
    return {};
  };
  TRY(families.each(read_item));
  // An API server would have filled it in from the addresses.
  if (!spec.strict() || !out->ip_families.empty()) return {};
  for (const net::Ip& ip : out->cluster_ips) out->ip_families.push_back(ip.family());
  return {};
}

Status decode_policies(const Field& spec, Service* out) {
  static constexpr std::pair<std::string_view, TrafficPolicy> kPolicies[] = {{"Cluster", TrafficPolicy::Cluster},
                                                                             {"Local", TrafficPolicy::Local}};
  const Field internal = spec.member("internalTrafficPolicy");
  const Field external = spec.member("externalTrafficPolicy");
  const Field health = spec.member("healthCheckNodePort");
  const Field publish = spec.member("publishNotReadyAddresses");
  out->internal_traffic_policy =
      TRY(internal.choice(kPolicies, TrafficPolicy::Cluster)).value_or(TrafficPolicy::Cluster);
  out->external_traffic_policy =
      TRY(external.choice(kPolicies, TrafficPolicy::Cluster)).value_or(TrafficPolicy::Cluster);
  out->health_check_node_port = TRY(health.optional_port());
  out->publish_not_ready_addresses = TRY(publish.boolean()).value_or(false);
  return {};
}

Status decode_affinity(const Field& spec, Service* out) {
  const Field affinity = spec.member("sessionAffinity");
  const Field config = spec.member("sessionAffinityConfig");
  TRY(config.object({"clientIP"}));
  const Field client_ip = config.member("clientIP");
  TRY(client_ip.object({"timeoutSeconds"}));
  const Field timeout = client_ip.member("timeoutSeconds");
  out->session_affinity = TRY(affinity.choice<SessionAffinity>(
                                  {{"None", SessionAffinity::None}, {"ClientIP", SessionAffinity::ClientIp}}, {}))
                              .value_or(SessionAffinity::None);
  if (const auto seconds = TRY(timeout.integer(1, 86400, "a timeout in seconds"))) {
    out->affinity_timeout_seconds = static_cast<std::uint32_t>(*seconds);
  }
  return {};
}

// KEP-1860: with ipMode Proxy the node must let traffic go out to the real load balancer, as if the address were not
// there. An entry that has only a hostname is no address.
Status decode_ingress(const Field& object, Service* out) {
  const Field status = object.member("status");
  TRY(status.object({"loadBalancer", "conditions"}));
  const Field balancer = status.member("loadBalancer");
  TRY(balancer.object({"ingress"}));
  const Field ingress = balancer.member("ingress");
  return ingress.each([&](const Field& item) -> Status {
    TRY(item.object({"ip", "hostname", "ipMode", "ports"}));
    const Field ip = item.member("ip");
    const Field mode = item.member("ipMode");
    const auto is_vip = TRY(mode.choice<bool>({{"VIP", true}, {"Proxy", false}}, true));
    const auto address = TRY(service_ip(ip));
    if (address && is_vip.value_or(false)) out->load_balancer_ips.push_back(*address);
    return {};
  });
}

}  // namespace

Result<Service> decode_service(const Field& object) {
  Service out;
  out.meta = TRY(decode_meta(object, Scope::Namespaced));
  out.has_proxy_name_label = has_label(object, kServiceProxyNameLabel);
  const Field spec = object.member("spec");
  if (spec.strict() && spec.absent()) return spec.error("is missing");
  TRY(spec.object({"ports",
                   "selector",
                   "clusterIP",
                   "clusterIPs",
                   "type",
                   "externalIPs",
                   "sessionAffinity",
                   "loadBalancerIP",
                   "loadBalancerSourceRanges",
                   "externalName",
                   "externalTrafficPolicy",
                   "healthCheckNodePort",
                   "publishNotReadyAddresses",
                   "sessionAffinityConfig",
                   "ipFamilies",
                   "ipFamilyPolicy",
                   "allocateLoadBalancerNodePorts",
                   "loadBalancerClass",
                   "internalTrafficPolicy",
                   "trafficDistribution"}));
  const Field type = spec.member("type");
  out.type = TRY(type.choice<ServiceType>({{"ClusterIP", ServiceType::ClusterIp},
                                           {"NodePort", ServiceType::NodePort},
                                           {"LoadBalancer", ServiceType::LoadBalancer},
                                           {"ExternalName", ServiceType::ExternalName}},
                                          ServiceType::ClusterIp))
                 .value_or(ServiceType::ClusterIp);
  TRY(decode_cluster_ips(spec, &out));
  TRY(decode_families(spec, &out));
  TRY(decode_ports(spec, &out));
  const Field external_ips = spec.member("externalIPs");
  out.external_ips = TRY(decode_ips(external_ips));
  const Field ranges = spec.member("loadBalancerSourceRanges");
  const auto read_item = [&](const Field& item) -> Status {
    if (const auto prefix = TRY(item.prefix())) out.load_balancer_source_ranges.push_back(*prefix);
    return {};
  };
  TRY(ranges.each(read_item));
  TRY(decode_policies(spec, &out));
  TRY(decode_affinity(spec, &out));
  TRY(decode_ingress(object, &out));
  return out;
}

}  // namespace fairlead::kube
