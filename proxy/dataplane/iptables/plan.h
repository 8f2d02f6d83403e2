// plan: NodeState and ServiceStates -> chains of rules, per family and table. Pure; layout.md says what the chains do.
#pragma once

#include <compare>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "proxy/dataplane/iptables/rule.h"
#include "proxy/model/node.h"

namespace fairlead::proxy::dataplane::iptables {

// The same for both families, fixed while the dataplane is open.
struct Settings {
  std::uint32_t masquerade_mark = 0x4000;  // one bit
  // ct INVALID is forwarded: net.netfilter.nf_conntrack_tcp_be_liberal (ADR 0008).
  bool tcp_be_liberal = false;
  // Many changes to a table are several transactions (tables.cc kMostLines): cheaper for nft, and dear for legacy,
  // which replaces the table with each.
  bool short_transactions = false;
};

struct FrontendKey {
  net::Ip address;  // unset (::) for a NodePort
  model::Protocol protocol = model::Protocol::Tcp;
  std::uint16_t port = 0;
  std::string to_string() const;  // "10.0.0.1:80/TCP", "node port 30080/TCP"
  auto operator<=>(const FrontendKey&) const = default;
};

// What happens to new connections to a frontend.
struct Dispatch {
  std::string chain;  // of nat; empty: nothing is translated
  // What becomes of packets that nat left alone; empty: nothing special. "-j DROP", "-g KUBE-REJECT", "-g KUBE-FW-..."
  std::string rest;
  bool cluster_ip = false;
  bool restricted = false;
  bool operator==(const Dispatch&) const = default;
};

// One service in one family.
struct ServicePlan {
  Chains nat;
  Chains filter;
  std::vector<std::pair<FrontendKey, Dispatch>> frontends;  // sorted, each once
  std::vector<net::Ip> local_endpoints;                     // sorted, each once: they may reach themselves
};
ServicePlan plan_service(const model::NodeState& node, net::Family family, const model::ServiceState& state);

// A rule of a built-in chain that leads to ours.
struct Jump {
  Table table = Table::Filter;
  std::string chain;  // "INPUT"
  Rule rule;
  bool operator==(const Jump&) const = default;
};
// In the order in which they are put in front.
std::vector<Jump> plan_jumps(const model::NodeState& node, net::Family family);
// Whether 127.0.0.1 serves NodePorts: sysctl route_localnet, and the guard below.
bool serves_loopback(const model::NodeState& node, net::Family family);
// kubelet's rule of kFirewall, against packets from outside to 127.0.0.0/8 (CVE-2020-8558).
Rule localnet_guard();

// Chains that do not depend on services.
Chains plan_static(const Settings& settings, net::Family family, Table table);

// The chains whose rules are found by look-up; each is rebuilt as a whole when an entry changes.
enum class TreeId : std::uint8_t {
  Translate,           // nat KUBE-SERVICES
  TranslateNodePorts,  // nat KUBE-NODEPORTS
  Hairpin,             // nat KUBE-HAIRPIN
  Services,            // filter KUBE-SERVICES
  External,            // filter KUBE-EXTERNAL-SERVICES
  RefusedNodePorts,    // filter KUBE-REFUSED-NODEPORTS
  Restricted,          // filter KUBE-PROXY-FIREWALL
};
constexpr TreeId kTreeIds[] = {TreeId::Translate, TreeId::TranslateNodePorts, TreeId::Hairpin,   TreeId::Services,
                               TreeId::External,  TreeId::RefusedNodePorts,   TreeId::Restricted};
Table table_of(TreeId tree);
// The trees that a frontend with this dispatch has an entry in.
std::vector<TreeId> trees_of(const FrontendKey& key, const Dispatch& dispatch);

using Frontends = std::map<FrontendKey, Dispatch>;
// The root and all chains of the tree. `hairpin`: endpoints of this node, with how many services use each.
Chains plan_tree(TreeId tree, const model::NodeState& node, net::Family family, const Frontends& frontends,
                 const std::map<net::Ip, std::uint32_t>& hairpin);
// filter KUBE-NODEPORTS: health checks of load balancers get through.
Rules plan_health_checks(const std::map<std::uint16_t, std::uint32_t>& ports);

}  // namespace fairlead::proxy::dataplane::iptables
