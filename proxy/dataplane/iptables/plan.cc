#include "proxy/dataplane/iptables/plan.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/strings.h"
#include "proxy/dataplane/iptables/names.h"
#include "proxy/dataplane/iptables/tree.h"

namespace fairlead::proxy::dataplane::iptables {
namespace {

using model::Masquerade;
using model::Pool;
using model::PortState;

constexpr std::string_view kDrop = "-j DROP";
constexpr std::string_view kFromNode = "-m addrtype --src-type LOCAL";
constexpr std::string_view kToNode = "-m addrtype --dst-type LOCAL";
constexpr std::string_view kNew = "-m conntrack --ctstate NEW";
constexpr std::string_view kTranslated = "-m conntrack --ctstate DNAT";

net::Prefix loopback(net::Family family) {
  return family == net::Family::V4 ? net::Prefix{net::Ip::v4(127, 0, 0, 0), 8} : host(net::Ip::parse("::1").value());
}

Rule with_target(std::string target) {
  Rule rule;
  rule.target = std::move(target);
  return rule;
}

Rule with_match(std::string_view match, std::string target) {
  Rule rule;
  rule.match = match;
  rule.target = std::move(target);
  return rule;
}

enum class Side : std::uint8_t { Pods, Strangers };

// Nothing when pods of that family cannot be told from strangers. In OUTPUT no interface matches: a process of the node
// is a stranger then.
std::optional<Rule> from(Side side, const model::LocalTraffic& pods, net::Family family) {
  Rule rule;
  if (!pods.interface.empty()) {
    rule.in_interface = base::cat(pods.interface, pods.interface_is_prefix ? "+" : "");
    rule.not_in_interface = side == Side::Strangers;
    return rule;
  }
  for (const net::Prefix& prefix : pods.sources) {
    if (prefix.family() != family) continue;
    if (prefix.length == 0 && side == Side::Strangers) return std::nullopt;  // there are none
    rule.source = prefix;
    rule.not_source = side == Side::Strangers;
    return rule;
  }
  return std::nullopt;
}

// The chance of rule i of n, as iptables keeps and prints it: in units of 2^-31.
std::string chance(std::size_t i, std::size_t n) {
  constexpr double kUnit = 2147483648.0;
  char text[24];
  // std::to_chars would give the shortest form; iptables-save prints 11 digits (1.8.9 libxt_statistic).
  std::snprintf(text, sizeof text, "%.11f", std::round(kUnit / static_cast<double>(n - i)) / kUnit);
  return base::cat("-m statistic --mode random --probability ", text);
}

class PortPlanner {
 public:
  PortPlanner(const model::NodeState& node, const model::ServiceState& state, const PortState& port, ServicePlan& out)
      : node_(node), state_(state), port_(port), out_(out), hash_(port_hash(state.key, port.name, port.protocol)) {}

  void run() {
    for (const model::Frontend& frontend : port_.frontends) {
      if (frontend.kind == model::FrontendKind::ClusterIp) mark_cluster_ip(frontend);
    }
    for (const model::Frontend& frontend : port_.frontends) add(frontend);
  }

 private:
  struct Class {  // external frontends that are treated alike share a chain
    Pool pool;
    Masquerade masquerade;
    bool short_circuit;
    bool operator==(const Class&) const = default;
  };

  // One kind of external frontend is the rule; another one gets a name that cannot be taken for kube-proxy's.
  std::string class_hash(std::size_t index) const { return index == 0 ? hash_ : hash16(base::cat(hash_, "/", index)); }

  void add(const model::Frontend& frontend) {
    const bool cluster_ip = frontend.kind == model::FrontendKind::ClusterIp;
    const bool node_port = frontend.kind == model::FrontendKind::NodePort;
    Dispatch dispatch{.chain = {}, .rest = {}, .cluster_ip = cluster_ip, .restricted = frontend.restricted};
    std::size_t index = 0;
    dispatch.chain = cluster_ip ? pool_chain(frontend.pool) : external_chain(frontend, index);
    const bool empty = port_.pool(frontend.pool).empty();
    const bool refuses = frontend.pool == Pool::Cluster || frontend.when_empty == model::WhenEmpty::Reject;
    if (empty) dispatch.rest = refuses ? go_to(kReject) : std::string(kDrop);
    if (frontend.restricted) restrict(index, cluster_ip, empty && refuses, dispatch);
    const FrontendKey key{node_port ? net::Ip() : frontend.address, port_.protocol, frontend.port};
    out_.frontends.emplace_back(key, std::move(dispatch));
  }

  // Everybody who is not allowed finds nothing in nat, and is dropped by what is left of the frontend in filter.
  void restrict(std::size_t index, bool cluster_ip, bool refuses, Dispatch& dispatch) {
    const std::string name = base::cat("KUBE-FW-", cluster_ip ? hash16(hash_ + "/cluster") : class_hash(index));
    if (!dispatch.chain.empty()) {
      out_.nat[name] = for_allowed(go_to(dispatch.chain));
      dispatch.chain = name;
    }
    dispatch.rest = kDrop;
    if (!refuses) return;
    out_.filter[name] = for_allowed(go_to(kReject));
    out_.filter[name].push_back(with_target(std::string(kDrop)));
    dispatch.rest = go_to(name);
  }

  Rules for_allowed(const std::string& target) const {
    Rules out;
    for (const net::Prefix& source : port_.allowed_sources) {
      if (source.family() != port_.family) continue;
      Rule rule = with_target(target);
      rule.source = source;
      out.push_back(std::move(rule));
    }
    return out;
  }

  // Empty: there is no endpoint to send anybody to.
  std::string external_chain(const model::Frontend& frontend, std::size_t& index) {
    const Class what{frontend.pool, frontend.masquerade, frontend.short_circuit};
    index = static_cast<std::size_t>(std::find(classes_.begin(), classes_.end(), what) - classes_.begin());
    if (index == classes_.size()) classes_.push_back(what);
    const std::string pool = pool_chain(frontend.pool);
    Rules rules;
    if (frontend.short_circuit && !port_.cluster_endpoints.empty()) {
      const std::string cluster = go_to(pool_chain(Pool::Cluster));
      if (auto pods = from(Side::Pods, node_.pods, port_.family)) {
        pods->target = cluster;
        rules.push_back(*std::move(pods));
      }
      rules.push_back(with_match(kFromNode, jump(kMarkMasq)));
      rules.push_back(with_match(kFromNode, cluster));
    }
    if (!pool.empty()) {
      if (auto mark = masquerading(frontend.masquerade)) rules.push_back(*std::move(mark));
      if (rules.empty()) return pool;
      rules.push_back(with_target(go_to(pool)));
    }
    if (rules.empty()) return {};
    std::string name = "KUBE-EXT-" + class_hash(index);
    out_.nat[name] = std::move(rules);
    return name;
  }

  std::optional<Rule> masquerading(Masquerade masquerade) const {
    std::optional<Rule> rule;
    if (masquerade == Masquerade::Always) rule = Rule();
    if (masquerade == Masquerade::OffCluster) rule = from(Side::Strangers, node_.pods, port_.family);
    if (rule) rule->target = jump(kMarkMasq);
    return rule;
  }

  // In front of the pool's own rules, where kube-proxy has it.
  void mark_cluster_ip(const model::Frontend& frontend) {
    const std::string pool = pool_chain(frontend.pool);
    auto rule = masquerading(frontend.masquerade);
    if (pool.empty() || !rule) return;
    rule->destination = host(frontend.address);
    rule->protocol = port_.protocol;
    rule->ports = Ports{frontend.port, frontend.port};
    Rules& rules = out_.nat[pool];
    if (std::find(rules.begin(), rules.end(), *rule) == rules.end()) rules.insert(rules.begin(), *std::move(rule));
  }

  // The chain that picks an endpoint; empty when there is none.
  std::string pool_chain(Pool pool) {
    const auto& endpoints = port_.pool(pool);
    if (endpoints.empty()) return {};
    std::string name = base::cat(pool == Pool::Cluster ? "KUBE-SVC-" : "KUBE-SVL-", hash_);
    const auto [rules, is_new] = out_.nat.try_emplace(name);
    if (!is_new) return name;
    rules->second = port_.affinity_seconds == 0 ? balance(endpoints) : stick(endpoints);
    for (const model::Endpoint& endpoint : endpoints) {
      if (endpoint.local) out_.local_endpoints.push_back(endpoint.address);
    }
    return name;
  }

  Rule translate(const model::Endpoint& endpoint) const {
    Rule rule = with_target(base::cat("-j DNAT --to-destination ", net::host_port(endpoint.address, endpoint.port)));
    rule.protocol = port_.protocol;
    return rule;
  }

  Rules balance(const std::vector<model::Endpoint>& endpoints) const {
    Rules out;
    out.reserve(endpoints.size() + 1);
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
      out.push_back(translate(endpoints[i]));
      if (i + 1 < endpoints.size()) out.back().match = chance(i, endpoints.size());
    }
    return out;
  }

  // A chain per endpoint remembers its clients. Both pools share it: a client keeps its endpoint in either.
  Rules stick(const std::vector<model::Endpoint>& endpoints) {
    const std::string_view mask =
        port_.family == net::Family::V4 ? "255.255.255.255" : "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    Rules known;
    Rules unknown;
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
      const std::string name = endpoint_chain(state_.key, port_.name, port_.protocol, endpoints[i]);
      const std::string list = base::cat("--name ", name, " --mask ", mask, " --rsource");
      known.push_back(
          with_match(base::cat("-m recent --rcheck --seconds ", port_.affinity_seconds, " --reap ", list), jump(name)));
      const bool last = i + 1 == endpoints.size();
      unknown.push_back(with_match(last ? std::string() : chance(i, endpoints.size()), jump(name)));
      Rule set = translate(endpoints[i]);
      set.match = base::cat("-m recent --set ", list);
      out_.nat[name] = {std::move(set)};
    }
    known.insert(known.end(), unknown.begin(), unknown.end());
    return known;
  }

  const model::NodeState& node_;
  const model::ServiceState& state_;
  const PortState& port_;
  ServicePlan& out_;
  const std::string hash_;
  std::vector<Class> classes_;
};

std::vector<net::Prefix> of_family(const std::vector<net::Prefix>& prefixes, net::Family family) {
  std::vector<net::Prefix> out;
  std::copy_if(prefixes.begin(), prefixes.end(), std::back_inserter(out),
               [&](const net::Prefix& prefix) { return prefix.family() == family; });
  return out;
}

// Packets to an address of this node that takes NodePort traffic go to `chain`.
void append_node_ports(const model::NodeState& node, net::Family family, std::string_view chain, Rules& out) {
  Rule own = with_match(serves_loopback(node, family) ? kToNode : "",
                        serves_loopback(node, family) ? jump(chain) : "-j RETURN");
  own.destination = loopback(family);
  out.push_back(std::move(own));
  for (const net::Prefix& prefix : of_family(node.node_port_addresses, family)) {
    Rule rule = with_match(kToNode, jump(chain));
    rule.destination = prefix;
    out.push_back(std::move(rule));
  }
}

TreeEntry entry(const FrontendKey& key, std::string target) {
  return {.address = key.address, .protocol = key.protocol, .port = key.port, .target = std::move(target)};
}

std::vector<TreeEntry> entries_of(TreeId tree, const Frontends& frontends,
                                  const std::map<net::Ip, std::uint32_t>& hairpin) {
  std::vector<TreeEntry> out;
  if (tree == TreeId::Hairpin) {
    for (const auto& [address, users] : hairpin) {
      out.push_back({.address = address, .protocol = {}, .target = jump(kMarkMasq)});
    }
    return out;
  }
  const bool nat = table_of(tree) == Table::Nat;
  std::optional<net::Ip> refused;  // the last address of which every port is
  for (const auto& [key, dispatch] : frontends) {
    for (const TreeId each : trees_of(key, dispatch)) {
      if (each != tree) continue;
      // What refuses a ClusterIP's single port is what refuses every other port of it.
      const bool refused_anyway = tree == TreeId::Services && dispatch.rest == go_to(kReject);
      if (nat || (!dispatch.rest.empty() && !refused_anyway)) {
        out.push_back(entry(key, nat ? go_to(dispatch.chain) : dispatch.rest));
      }
      if (tree == TreeId::Services && refused != key.address) {
        refused = key.address;
        out.push_back({.address = key.address, .protocol = {}, .target = go_to(kReject)});
      }
    }
  }
  return out;
}

}  // namespace

std::string FrontendKey::to_string() const {
  return address.is_unspecified() ? base::cat("node port ", port, "/", kube::to_string(protocol))
                                  : base::cat(net::host_port(address, port), "/", kube::to_string(protocol));
}

ServicePlan plan_service(const model::NodeState& node, net::Family family, const model::ServiceState& state) {
  ServicePlan out;
  for (const PortState& port : state.ports) {
    if (port.family == family) PortPlanner(node, state, port, out).run();
  }
  const auto same_key = [](const auto& a, const auto& b) { return a.first == b.first; };
  const auto by_key = [](const auto& a, const auto& b) { return a.first < b.first; };
  std::stable_sort(out.frontends.begin(), out.frontends.end(), by_key);
  out.frontends.erase(std::unique(out.frontends.begin(), out.frontends.end(), same_key), out.frontends.end());
  std::sort(out.local_endpoints.begin(), out.local_endpoints.end());
  out.local_endpoints.erase(std::unique(out.local_endpoints.begin(), out.local_endpoints.end()),
                            out.local_endpoints.end());
  return out;
}

bool serves_loopback(const model::NodeState& node, net::Family family) {
  return node.localhost_node_ports && family == net::Family::V4;
}

Rule localnet_guard() {
  Rule rule = with_match(
      "-m comment --comment \"block incoming localnet connections\" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT",
      std::string(kDrop));
  rule.source = loopback(net::Family::V4);
  rule.not_source = true;
  rule.destination = loopback(net::Family::V4);
  return rule;
}

std::vector<Jump> plan_jumps(const model::NodeState& node, net::Family family) {
  std::vector<Jump> out;
  const auto add = [&](Table table, const char* from_chain, std::string_view to, std::string_view state,
                       std::string_view comment) {
    std::string match(state);
    if (!comment.empty()) match += base::cat(state.empty() ? "" : " ", "-m comment --comment \"", comment, "\"");
    out.push_back({table, from_chain, with_match(match, jump(to))});
  };
  constexpr std::string_view kExternal = "kubernetes externally-visible service portals";
  constexpr std::string_view kPortals = "kubernetes service portals";
  for (const char* chain : {"INPUT", "FORWARD", "OUTPUT"})
    add(Table::Filter, chain, kExternalServices, kNew, kExternal);
  add(Table::Filter, "INPUT", kNodePorts, "", "kubernetes health check service ports");
  for (const char* chain : {"FORWARD", "OUTPUT"}) add(Table::Filter, chain, kServices, kNew, kPortals);
  add(Table::Filter, "FORWARD", kForward, "", "kubernetes forwarding rules");
  for (const char* chain : {"INPUT", "OUTPUT", "FORWARD"}) {
    add(Table::Filter, chain, kProxyFirewall, kNew, "kubernetes load balancer firewall");
  }
  if (serves_loopback(node, family)) {
    for (const char* chain : {"INPUT", "OUTPUT"}) add(Table::Filter, chain, kFirewall, "", "");
  }
  for (const char* chain : {"OUTPUT", "PREROUTING"}) add(Table::Nat, chain, kServices, "", kPortals);
  add(Table::Nat, "POSTROUTING", kPostrouting, "", "kubernetes postrouting rules");
  return out;
}

Chains plan_static(const Settings& settings, net::Family family, Table table) {
  Chains out;
  out[std::string(kCanary)];
  char mark[16];
  std::snprintf(mark, sizeof mark, "0x%x", settings.masquerade_mark);
  const std::string masked = base::cat(mark, "/", mark);
  if (table == Table::Filter) {
    Rule reset = with_target("-j REJECT --reject-with tcp-reset");
    reset.protocol = model::Protocol::Tcp;
    out[std::string(kReject)] = {
        reset, with_target(base::cat("-j REJECT --reject-with ", family == net::Family::V4 ? "icmp" : "icmp6",
                                     "-port-unreachable"))};
    Rules& forward = out[std::string(kForward)];
    if (!settings.tcp_be_liberal) {
      forward.push_back(with_match("-m conntrack --ctstate INVALID", std::string(kDrop)));
    }
    forward.push_back(with_match(base::cat("-m mark --mark ", masked), "-j ACCEPT"));
    forward.push_back(with_match("-m conntrack --ctstate RELATED,ESTABLISHED", "-j ACCEPT"));
  }
  if (table == Table::Nat) {
    out[std::string(kMarkMasq)] = {with_target(base::cat("-j MARK --set-xmark ", masked))};
    out[std::string(kPostrouting)] = {
        with_match(kTranslated, jump(kHairpin)),
        with_match(base::cat("-m mark ! --mark ", masked), "-j RETURN"),
        with_target(base::cat("-j MARK --set-xmark ", mark, "/0x0")),  // --xor-mark: not masqueraded twice
        with_target("-j MASQUERADE --random-fully"),
    };
  }
  return out;
}

Table table_of(TreeId tree) {
  return tree == TreeId::Translate || tree == TreeId::TranslateNodePorts || tree == TreeId::Hairpin ? Table::Nat
                                                                                                    : Table::Filter;
}

std::vector<TreeId> trees_of(const FrontendKey& key, const Dispatch& dispatch) {
  std::vector<TreeId> out;
  const bool node_port = key.address.is_unspecified();
  if (!dispatch.chain.empty()) out.push_back(node_port ? TreeId::TranslateNodePorts : TreeId::Translate);
  if (dispatch.cluster_ip && !dispatch.restricted) {
    out.push_back(TreeId::Services);
  } else if (!dispatch.rest.empty()) {
    if (node_port) {
      out.push_back(TreeId::RefusedNodePorts);
    } else {
      out.push_back(dispatch.restricted ? TreeId::Restricted : TreeId::External);
    }
  }
  return out;
}

Chains plan_tree(TreeId tree, const model::NodeState& node, net::Family family, const Frontends& frontends,
                 const std::map<net::Ip, std::uint32_t>& hairpin) {
  struct Shape {
    std::string_view root;
    std::string_view tag;
    TreeKey key;
  };
  const auto shape = [&]() -> Shape {
    switch (tree) {
      case TreeId::Translate: return {kServices, "KUBE-D", TreeKey::Address};
      case TreeId::TranslateNodePorts: return {kNodePorts, "KUBE-DP", TreeKey::Port};
      case TreeId::Hairpin: return {kHairpin, "KUBE-DH", TreeKey::Address};
      case TreeId::Services: return {kServices, "KUBE-D", TreeKey::Address};
      case TreeId::External: return {kExternalServices, "KUBE-DE", TreeKey::Address};
      case TreeId::RefusedNodePorts: return {kRefusedNodePorts, "KUBE-DP", TreeKey::Port};
      case TreeId::Restricted: return {kProxyFirewall, "KUBE-DF", TreeKey::Address};
    }
    return {};
  }();
  Tree built = build_tree(shape.tag, shape.key, family, entries_of(tree, frontends, hairpin));
  if (tree == TreeId::Hairpin) {
    const auto from_itself = [](Rule& rule) {
      if (rule.target == jump(kMarkMasq)) rule.source = rule.destination;
    };
    std::for_each(built.root.begin(), built.root.end(), from_itself);
    for (auto& [name, rules] : built.chains) std::for_each(rules.begin(), rules.end(), from_itself);
  }
  Rules root;
  const bool address_in_filter = table_of(tree) == Table::Filter && shape.key == TreeKey::Address;
  // A connection that was translated may go to an address that is a frontend as well.
  if (address_in_filter) root.push_back(with_match(kTranslated, "-j RETURN"));
  std::move(built.root.begin(), built.root.end(), std::back_inserter(root));
  if (tree == TreeId::Translate) append_node_ports(node, family, kNodePorts, root);
  if (tree == TreeId::External) append_node_ports(node, family, kRefusedNodePorts, root);
  if (tree == TreeId::Services) {
    for (const net::Prefix& prefix : of_family(node.service_cidrs, family)) {
      Rule rule = with_target(std::string(kDrop));
      rule.destination = prefix;
      root.push_back(std::move(rule));
    }
  }
  built.chains[std::string(shape.root)] = std::move(root);
  return std::move(built.chains);
}

Rules plan_health_checks(const std::map<std::uint16_t, std::uint32_t>& ports) {
  Rules out;
  for (const auto& [port, users] : ports) {
    Rule rule = with_target("-j ACCEPT");
    rule.protocol = model::Protocol::Tcp;
    rule.ports = Ports{port, port};
    out.push_back(std::move(rule));
  }
  return out;
}

}  // namespace fairlead::proxy::dataplane::iptables
