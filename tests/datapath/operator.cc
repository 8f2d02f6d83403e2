#include "tests/datapath/operator.h"

#include "base/strings.h"
#include "tests/datapath/testbed.h"

namespace fairlead::testbed {
namespace {

using proxy::model::Config;
using proxy::model::DetectLocal;

std::vector<net::Prefix> prefixes(const std::vector<std::string>& texts) {
  std::vector<net::Prefix> out;
  for (const std::string& text : texts) out.push_back(*net::Prefix::parse(text));
  return out;
}

std::string list(const std::vector<net::Prefix>& prefixes) {
  std::vector<std::string> texts;
  for (const net::Prefix& prefix : prefixes) texts.push_back(prefix.to_string());
  return base::join(texts, ",");
}

Config usual() {
  Config config;
  config.cluster_cidrs = prefixes({"10.244.0.0/16", "fd00:10:244::/48"});
  return config;
}

Config usual_with(const std::vector<std::string>& node_port_addresses) {
  Config config = usual();
  config.node_port_addresses = prefixes(node_port_addresses);
  return config;
}

Config detecting_by(DetectLocal mode, std::string interface) {
  Config config;
  config.detect_local = mode;
  config.local_interface = std::move(interface);
  return config;
}

}  // namespace

std::string_view to_string(Operator setup) {
  switch (setup) {
    case Operator::Usual: return "usual";
    case Operator::NoDetector: return "no detector";
    case Operator::MasqueradeAll: return "masqueradeAll";
    case Operator::MasqueradeAllNoDetector: return "masqueradeAll, no detector";
    case Operator::NodeCidr: return "detector NodeCIDR";
    case Operator::BridgeInterface: return "detector BridgeInterface";
    case Operator::InterfacePrefix: return "detector InterfaceNamePrefix";
    case Operator::NodePortsOnPrimary: return "NodePorts on primary";
    case Operator::NodePortsInRanges: return "NodePorts in ranges";
    case Operator::NodePortsOnSecond: return "NodePorts on the second address";
    case Operator::NodePortsOnSecondOfIpv4: return "NodePorts on the second address of IPv4";
    case Operator::NoLocalhostNodePorts: return "no localhost NodePorts";
  }
  return "?";
}

Config config_of(Operator setup) {
  Config config = usual();
  switch (setup) {
    case Operator::Usual: break;
    case Operator::NoDetector: config.cluster_cidrs.clear(); break;
    case Operator::MasqueradeAll: config.masquerade_all = true; break;
    case Operator::MasqueradeAllNoDetector:
      config.cluster_cidrs.clear();
      config.masquerade_all = true;
      break;
    case Operator::NodeCidr: return detecting_by(DetectLocal::NodeCidr, "");
    case Operator::BridgeInterface: return detecting_by(DetectLocal::BridgeInterface, host_interface("pod1a"));
    case Operator::InterfacePrefix: return detecting_by(DetectLocal::InterfaceNamePrefix, "veth");
    case Operator::NodePortsOnPrimary: config.node_ports_on_primary = true; break;
    case Operator::NodePortsInRanges: return usual_with({"172.18.0.0/24", "fd00:172:18::/64"});
    case Operator::NodePortsOnSecond: return usual_with({"172.19.0.0/24", "fd00:172:19::/64"});
    case Operator::NodePortsOnSecondOfIpv4: return usual_with({"172.19.0.0/24"});
    case Operator::NoLocalhostNodePorts: config.localhost_node_ports = false; break;
  }
  return config;
}

std::vector<std::string> flags_of(Operator setup) {
  const Config config = config_of(setup);
  std::vector<std::string> flags;
  if (config.detect_local != DetectLocal::ClusterCidr) {
    flags.insert(flags.end(), {"--detect-local-mode", std::string(to_string(config.detect_local))});
  }
  if (!config.cluster_cidrs.empty()) flags.insert(flags.end(), {"--cluster-cidr", list(config.cluster_cidrs)});
  if (!config.local_interface.empty()) {
    const bool bridge = config.detect_local == DetectLocal::BridgeInterface;
    flags.insert(flags.end(),
                 {bridge ? "--pod-bridge-interface" : "--pod-interface-name-prefix", config.local_interface});
  }
  if (config.masquerade_all) flags.push_back("--masquerade-all");
  if (config.node_ports_on_primary) flags.insert(flags.end(), {"--nodeport-addresses", "primary"});
  if (!config.node_port_addresses.empty()) {
    flags.insert(flags.end(), {"--nodeport-addresses", list(config.node_port_addresses)});
  }
  if (!config.localhost_node_ports) flags.push_back("--iptables-localhost-nodeports=false");
  return flags;
}

}  // namespace fairlead::testbed
