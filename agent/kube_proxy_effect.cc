#include "agent/kube_proxy_effect.h"

#include <algorithm>
#include <ostream>
#include <type_traits>
#include <utility>

#include "agent/kube_proxy_settings.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

using base::cat;
using base::log::Level;
using net::Family;
using net::Prefix;
using proxy::model::DetectLocal;
using K = KubeProxyConfiguration;

// All were checked when they were set.
std::vector<Prefix> prefixes_of(const std::vector<std::string_view>& texts) {
  std::vector<Prefix> out;
  for (const std::string_view text : texts) {
    if (auto prefix = Prefix::parse_sloppy(text)) out.push_back(*prefix);
  }
  return out;
}

bool has_family(const std::vector<Prefix>& prefixes, Family family) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const Prefix& one) { return one.family() == family; });
}

DetectLocal detect_local_of(std::string_view mode) {
  for (const DetectLocal one :
       {DetectLocal::NodeCidr, DetectLocal::BridgeInterface, DetectLocal::InterfaceNamePrefix}) {
    if (to_string(one) == mode) return one;
  }
  return DetectLocal::ClusterCidr;
}

bool is_primary(const K& configuration) {
  return configuration.node_port_addresses == std::vector<std::string>{"primary"};
}

// kube-proxy takes localhost for a NodePort address only where nodePortAddresses does not leave it out (kubernetes
// v1.36 pkg/proxy/util/nodeport_addresses.go, ContainsIPv4Loopback).
bool leaves_out_loopback(const std::vector<Prefix>& named) {
  const net::Ip loopback = net::Ip::v4(127, 0, 0, 1);
  return has_family(named, Family::V4) && std::none_of(named.begin(), named.end(), [&](const Prefix& one) {
           return one.contains(loopback) || one.address.is_loopback();
         });
}

proxy::model::Config model_of(const K& configuration, bool masquerade_all) {
  proxy::model::Config out;
  out.detect_local = detect_local_of(configuration.detect_local_mode);
  if (!configuration.cluster_cidr.empty())
    out.cluster_cidrs = prefixes_of(base::split(configuration.cluster_cidr, ','));
  if (out.detect_local == DetectLocal::BridgeInterface)
    out.local_interface = configuration.detect_local_bridge_interface;
  if (out.detect_local == DetectLocal::InterfaceNamePrefix) {
    out.local_interface = configuration.detect_local_interface_name_prefix;
  }
  out.masquerade_all = masquerade_all;
  out.node_ports_on_primary = is_primary(configuration);
  if (!out.node_ports_on_primary) {
    const auto& texts = configuration.node_port_addresses;
    out.node_port_addresses = prefixes_of({texts.begin(), texts.end()});
  }
  out.localhost_node_ports = configuration.iptables_localhost_node_ports && !out.node_ports_on_primary &&
                             !leaves_out_loopback(out.node_port_addresses);
  const auto external_ips = configuration.feature_gates.find("AllowServiceExternalIPs");
  out.external_ips = external_ips == configuration.feature_gates.end() || external_ips->second;
  const auto own = net::Ip::parse_sloppy(configuration.bind_address);
  if (own && !own->is_unspecified()) out.node_ip = *own;
  return out;
}

// A range of a family that the node does not speak would leave every pod a stranger: fatal, as in kube-proxy.
Status check_families(const K& configuration, const proxy::model::Config& model, NodeFamilies families) {
  if (families == NodeFamilies::Both) return {};
  if (model.node_ip && !model.node_ip->is_v4()) {
    return Error(cat("bindAddress: ", configuration.bind_address, " is IPv6, which this node does not speak"));
  }
  const bool by_range = model.detect_local == DetectLocal::ClusterCidr && !model.cluster_cidrs.empty();
  if (by_range && !has_family(model.cluster_cidrs, Family::V4)) {
    return Error(cat("clusterCIDR: ", configuration.cluster_cidr, " is IPv6 alone, which this node does not speak"));
  }
  return {};
}

void note_detection(const proxy::model::Config& model, NodeFamilies families, std::vector<Note>& notes) {
  if (model.detect_local != DetectLocal::ClusterCidr) return;
  if (model.cluster_cidrs.empty()) {
    notes.push_back({Level::Info, "clusterCIDR is not set: pods are not told from other clients"});
    return;
  }
  for (const Family family : {Family::V4, Family::V6}) {
    const bool spoken = family == Family::V4 || families == NodeFamilies::Both;
    if (!spoken || has_family(model.cluster_cidrs, family)) continue;
    notes.push_back({Level::Info, cat("clusterCIDR has no ", to_string(family), " range: pods are not told from other ",
                                      to_string(family), " clients")});
  }
}

bool differs(const K& a, const K& b, const Setting& setting) {
  return std::visit(
      [&](auto slot) {
        if constexpr (std::is_same_v<decltype(slot), std::monostate>) {
          return false;
        } else {
          return a.*slot != b.*slot;
        }
      },
      setting.slot);
}

void note_what_has_no_effect(const K& configuration, std::vector<Note>& notes) {
  const K defaults;
  for (const Setting& setting : kube_proxy_settings()) {
    if (setting.void_because.empty() || !differs(configuration, defaults, setting)) continue;
    notes.push_back({Level::Info, cat(setting.path, " has no effect: ", setting.void_because)});
  }
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Note& note) { return out << note.text; }

Result<Effect> effect_of(const K& configuration, NodeFamilies families) {
  Effect out;
  const bool nftables = configuration.mode == "nftables";
  if (nftables || configuration.mode == "iptables") out.dataplane = configuration.mode;
  if (configuration.mode == "ipvs") {
    out.notes.push_back({Level::Warn,
                         "mode: there is no ipvs dataplane; unless --dataplane names another one, auto is used: eBPF "
                         "where it is usable, "
                         "else nftables"});
  }
  // As in kube-proxy, the other modes share the section of iptables.
  out.model =
      model_of(configuration, nftables ? configuration.nftables_masquerade_all : configuration.iptables_masquerade_all);
  out.masquerade_mark =
      1U << (nftables ? configuration.nftables_masquerade_bit : configuration.iptables_masquerade_bit);
  out.health_timeout = 2 * (nftables ? configuration.nftables_sync_period : configuration.iptables_sync_period);
  TRY(check_families(configuration, out.model, families));
  note_detection(out.model, families, out.notes);
  note_what_has_no_effect(configuration, out.notes);
  return out;
}

}  // namespace fairlead::agent
