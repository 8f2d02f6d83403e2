#include "proxy/dataplane/nftables/rules.h"

#include <algorithm>

#include "base/strings.h"
#include "net/nft/match.h"
#include "proxy/dataplane/nftables/elements.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

using net::Family;
namespace expr = nft::expr;
using namespace nft::match;

constexpr std::int32_t kBeforeRouting = -100;  // NF_IP_PRI_NAT_DST, "dstnat"
constexpr std::int32_t kSourceNat = 100;       // NF_IP_PRI_NAT_SRC, "srcnat"
constexpr std::int32_t kFilter = 0;            // NF_IP_PRI_FILTER

std::string in_register(std::uint32_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

// address . protocol . port, with address 0 for a node port.
Exprs load_frontend(Family f, bool node_port, std::uint32_t to) {
  Exprs exprs;
  if (node_port) {
    exprs.push_back(expr::LoadValue{std::string(address_size(f), '\0'), to});
  } else {
    exprs.push_back(destination(f, to));
  }
  return std::move(exprs) + load_port(to + address_registers(f));
}

std::string bytes_of(const net::Prefix& prefix) {
  const auto& bytes = prefix.address.bytes();
  const std::size_t size = address_size(prefix.family());
  return {reinterpret_cast<const char*>(bytes.data()) + (bytes.size() - size), size};
}
// Goes on only where the address that `load` puts into register 0 lies in `prefix`, or only where it does not.
Exprs match(const expr::LoadPayload& load, const net::Prefix& prefix, bool inside) {
  const Family f = prefix.family();
  const std::string mask = mask_of(f, prefix.length);
  return {load, expr::Mask{0, mask, std::string(mask.size(), '\0')}, expr::Compare{0, inside, bytes_of(prefix)}};
}

expr::Verdict go(std::string chain) { return {expr::Then::Goto, std::move(chain)}; }
expr::Verdict jump(std::string chain) { return {expr::Then::Jump, std::move(chain)}; }
constexpr expr::Then kDropIt = expr::Then::Drop;

// Is the destination an address of this node, other than loopback?
Exprs to_this_node(Family f) {
  const net::Prefix loopback =
      f == Family::V4 ? net::Prefix{net::Ip::v4(127, 0, 0, 0), 8}
                      : net::Prefix{net::Ip::from_bytes({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}), 128};
  return Exprs{expr::LoadAddressType{false, 0}, expr::Compare{0, true, in_register(2 /* RTN_LOCAL */)}} +
         match(destination(f, 0), loopback, false);
}

Exprs connection_state(std::uint32_t bit) {
  // NF_CT_STATE_BIT of linux v6.1 include/uapi/linux/netfilter/nf_conntrack_common.h: INVALID 1, NEW 8
  return {expr::LoadCt{expr::CtKey::State, 0}, expr::Mask{0, in_register(bit), in_register(0)},
          expr::Compare{0, false, in_register(0)}};
}
Exprs translated(bool yes) {
  return {expr::LoadCt{expr::CtKey::Status, 0}, expr::Mask{0, in_register(0x20 /* IPS_DST_NAT */), in_register(0)},
          expr::Compare{0, !yes, in_register(0)}};
}
Exprs new_and_untranslated() { return connection_state(8) + translated(false); }

Exprs set_mark(const Settings& settings) {
  return {expr::LoadMeta{expr::MetaKey::Mark, 0},
          expr::Mask{0, in_register(~settings.mark), in_register(settings.mark)},
          expr::SetMeta{expr::MetaKey::Mark, 0}};
}

// What a map yields travels to the next look-up through skb->priority: nft 1.0.6 dies on listing a map's value that is
// looked up again directly ("netlink_parse_concat_expr: Assertion `consumed > 0' failed").
Exprs keep(std::uint32_t reg) { return {expr::SetMeta{expr::MetaKey::Priority, reg}}; }
Exprs recall(std::uint32_t reg) { return {expr::LoadMeta{expr::MetaKey::Priority, reg}}; }
Exprs forget(std::uint32_t reg) { return Exprs{expr::LoadValue{in_register(0), reg}} + keep(reg); }
Exprs find(SetId map, std::uint32_t reg) { return Exprs{expr::Lookup{name_of(map), reg, reg}} + keep(reg); }
Exprs then(const char* verdicts) { return {expr::Lookup{verdicts, 0, std::nullopt, true}}; }
Exprs mask(std::uint32_t reg, std::uint32_t keep_bits, std::uint32_t set_bits) {
  return {expr::Mask{reg, in_register(keep_bits), in_register(set_bits)}};
}

Exprs find_code(SetId map, const char* verdicts) { return find(map, 0) + recall(0) + then(verdicts); }

nft::Rule masquerade_rule(const Settings& settings) {
  return {"nat_postrouting", "masquerade",
          Exprs{expr::LoadMeta{expr::MetaKey::Mark, 0}, expr::Mask{0, in_register(settings.mark), in_register(0)},
                expr::Compare{0, false, in_register(0)}, expr::LoadMeta{expr::MetaKey::Mark, 0},
                expr::Mask{0, in_register(~settings.mark), in_register(0)}, expr::SetMeta{expr::MetaKey::Mark, 0},
                expr::Masquerade{}}};
}

// Before anything else a restricted frontend asks where its client comes from; nat chains see first packets alone.
nft::Rule restricted_rule(Family f, const std::string& chain, bool node_port, std::string comment, const Exprs& where) {
  return {chain, std::move(comment),
          where + load_frontend(f, node_port, 0) +
              Exprs{expr::Lookup{name_of(SetId::Restricted), 0, std::nullopt}, jump(restricted_chain(node_port))}};
}

// Goes on only for packets of pods; empty when they cannot be told apart.
Exprs from_pods(Family f, const model::LocalTraffic& pods) {
  if (!pods.interface.empty()) {
    std::string name = pods.interface;
    if (!pods.interface_is_prefix) name.resize(16, '\0');  // IFNAMSIZ
    return {expr::LoadMeta{expr::MetaKey::InputName, 0}, expr::Compare{0, true, name}};
  }
  for (const net::Prefix& prefix : pods.sources) {
    if (prefix.family() != f) continue;
    // A packet of the node itself came in on no interface.
    return Exprs{expr::LoadMeta{expr::MetaKey::InputIndex, 0}, expr::Compare{0, false, in_register(0)}} +
           match(source(f, 0), prefix, true);
  }
  return {};
}

std::string pods_text(Family f, const model::LocalTraffic& pods) {
  if (!pods.interface.empty()) return base::cat("on ", pods.interface, pods.interface_is_prefix ? "*" : "");
  for (const net::Prefix& prefix : pods.sources) {
    if (prefix.family() == f) return base::cat("of ", prefix.to_string());
  }
  return "not told apart";
}

std::vector<net::Prefix> of_family(Family f, const std::vector<net::Prefix>& prefixes) {
  std::vector<net::Prefix> out;
  std::copy_if(prefixes.begin(), prefixes.end(), std::back_inserter(out),
               [&](const net::Prefix& prefix) { return prefix.family() == f; });
  return out;
}

// Pods return; whoever is left gets the mark.
std::vector<nft::Rule> strangers_rules(Family f, const Settings& settings, const model::NodeState& node) {
  const char* chain = "strangers";
  std::vector<nft::Rule> rules;
  const Exprs pods = from_pods(f, node.pods);
  rules.push_back({chain, base::cat("pods ", pods_text(f, node.pods)),
                   pods.empty() ? set_mark(settings) : pods + Exprs{expr::Verdict{expr::Then::Return, {}}}});
  if (!pods.empty()) rules.push_back({chain, "mark", set_mark(settings)});
  return rules;
}

std::vector<nft::Rule> node_port_rules(Family f, const model::NodeState& node) {
  std::vector<nft::Rule> rules;
  for (const net::Prefix& prefix : node_port_addresses(f, node)) {
    const Exprs where = prefix.length == 0 ? Exprs() : match(destination(f, 0), prefix, true);
    const std::string text = prefix.to_string();
    rules.push_back(restricted_rule(f, "nodeports", true, base::cat("restricted ", text), where));
    rules.push_back({"nodeports", text, where + load_port(0) + find_code(SetId::NodePorts, "dispatch")});
    rules.push_back({"refused_nodeports", text, where + load_port(0) + find_code(SetId::NodePorts, "refuse")});
  }
  return rules;
}

// Pods and this node are served as `inner` says, others as `externals` does.
std::vector<nft::Rule> short_rules(Family f, std::uint32_t code, const Settings& settings,
                                   const model::NodeState& node) {
  const std::string chain = chain_of(code);
  const std::string inner = chain_of(code & ~kShort);
  std::vector<nft::Rule> rules;
  rules.push_back({chain, "this node",
                   Exprs{expr::LoadAddressType{true, 0}, expr::Compare{0, true, in_register(2 /* RTN_LOCAL */)}} +
                       set_mark(settings) + Exprs{go(inner)}});
  const Exprs pods = from_pods(f, node.pods);
  if (!pods.empty()) rules.push_back({chain, base::cat("pods ", pods_text(f, node.pods)), pods + Exprs{go(inner)}});
  rules.push_back(
      {chain, "others", load_frontend(f, (code & kNodePort) != 0, 0) + find_code(SetId::Externals, "dispatch_local")});
  return rules;
}

void add_masquerade(std::vector<nft::Rule>& rules, std::uint32_t code, const Settings& settings) {
  const std::string chain = chain_of(code);
  if ((code & kMasquerade) != 0) rules.push_back({chain, "masquerade", set_mark(settings)});
  if ((code & kOffCluster) != 0) rules.push_back({chain, "masquerade strangers", {jump("strangers")}});
}

std::vector<nft::Rule> balance_rules(Family f, std::uint32_t code, const Settings& settings) {
  const std::uint32_t after = address_registers(f);
  std::vector<nft::Rule> rules;
  add_masquerade(rules, code, settings);
  rules.push_back({chain_of(code), "balance",
                   forget(0) + load_frontend(f, (code & kNodePort) != 0, 0) +
                       Exprs{expr::Random{code & kArgument, (code & kLocal) != 0 ? kLocalSlots : 0, after + 2},
                             expr::Lookup{name_of(SetId::Endpoints), 0, 0}, expr::Dnat{f, 0, after}}});
  return rules;
}

// client . group in registers 0 and on, out of the member in skb->priority; the member itself behind it.
Exprs remember(Family f, std::uint32_t seconds, bool anew) {
  const std::uint32_t group = address_registers(f);
  Exprs exprs = Exprs{source(f, 0)} + recall(group) + mask(group, kGroupMask, 0) + recall(group + 1);
  using What = expr::Remember::What;
  // An element that is there keeps its data (linux v6.1 net/netfilter/nft_dynset.c), so the old one has to go first.
  if (anew) exprs.push_back(expr::Remember{What::Delete, kStickySet, 0, group + 1, 0});
  exprs.push_back(expr::Remember{What::Update, kStickySet, 0, group + 1, seconds});
  return exprs;
}

std::vector<nft::Rule> sticky_rules(Family f, std::uint32_t code, const Settings& settings) {
  const std::string chain = chain_of(code);
  const std::uint32_t group = address_registers(f);
  const std::uint32_t target = 8;  // behind all that is looked up
  const std::uint32_t seconds = code & kArgument;
  const std::uint32_t pool = (code & kLocal) != 0 ? kLocalPool : 0;
  const auto session = [&](std::uint32_t reg) {
    return load_frontend(f, (code & kNodePort) != 0, reg) + find(SetId::Sessions, reg);
  };
  const Exprs to_member = Exprs{expr::Lookup{name_of(SetId::Members), group, target}};
  const Exprs send = forget(0) + Exprs{expr::Dnat{f, target, target + group}};
  std::vector<nft::Rule> rules;
  add_masquerade(rules, code, settings);
  // Where did this client go, and is that still a member of this pool?
  rules.push_back({chain, "stay",
                   session(0) + Exprs{source(f, 0)} + recall(group) + Exprs{expr::Lookup{kStickySet, 0, group}} +
                       keep(group) + recall(group) + mask(group, ~kLocalPool, pool) + to_member +
                       remember(f, seconds, false) + send});
  // The pool and its size, in one number, lead to the chain that leaves a member in skb->priority.
  rules.push_back({chain, "pick",
                   session(0) + recall(0) + mask(0, ~kLocalPool, pool) + find(SetId::Shares, 0) + recall(0) +
                       mask(0, kNumber, 0) + then("picks")});
  rules.push_back({chain, "remember", recall(group) + to_member + remember(f, seconds, true) + send});
  rules.push_back({chain, "no room to remember", recall(group) + to_member + send});
  return rules;
}

std::vector<nft::Rule> pick_rules(std::uint32_t code) {
  return {{chain_of(code), "pick",
           recall(0) + mask(0, ~kNumber, 0) + Exprs{expr::Random{code & kArgument, 0, 1}} + find(SetId::Choices, 0)}};
}

std::vector<nft::Rule> refused_externals_rules(Family f, bool node_port) {
  const char* chain = refused_externals_chain(node_port);
  return {{chain, "reject",
           load_frontend(f, node_port, 0) + find(SetId::Externals, 0) + recall(0) +
               Exprs{expr::Compare{0, true, in_register(kReject)}, go("reject")}},
          {chain, "drop", recall(0) + Exprs{expr::Compare{0, true, in_register(kDrop)}, expr::Verdict{kDropIt, {}}}}};
}

}  // namespace

const char* restricted_chain(bool node_port) { return node_port ? "restricted_nodeports" : "restricted"; }
const char* refused_externals_chain(bool node_port) {
  return node_port ? "refused_external_nodeports" : "refused_externals";
}

std::vector<nft::Chain> fixed_chains() {
  using nft::ChainType;
  using nft::Hook;
  return {
      {"reject", {}},
      {"strangers", {}},
      {restricted_chain(false), {}},
      {restricted_chain(true), {}},
      {"nodeports", {}},
      {"unallocated", {}},
      {"refused", {}},
      {refused_externals_chain(false), {}},
      {refused_externals_chain(true), {}},
      {"refused_nodeports", {}},
      {"nat_prerouting", nft::BaseChain{ChainType::Nat, Hook::Prerouting, kBeforeRouting}},
      {"nat_output", nft::BaseChain{ChainType::Nat, Hook::Output, kBeforeRouting}},
      {"nat_postrouting", nft::BaseChain{ChainType::Nat, Hook::Postrouting, kSourceNat}},
      {"filter_input", nft::BaseChain{ChainType::Filter, Hook::Input, kFilter}},
      {"filter_forward", nft::BaseChain{ChainType::Filter, Hook::Forward, kFilter}},
      {"filter_output", nft::BaseChain{ChainType::Filter, Hook::Output, kFilter}},
  };
}

std::vector<nft::Rule> fixed_rules(Family f, const Settings& settings) {
  std::vector<nft::Rule> rules{
      {"reject",
       "tcp",
       {expr::LoadMeta{expr::MetaKey::L4Protocol, 0}, expr::Compare{0, true, std::string(1, '\x06')},
        expr::TcpReset{}}},
      {"reject", "other", {expr::PortUnreachable{f}}},
      {restricted_chain(false), "drop", {expr::Verdict{kDropIt, {}}}},
      {restricted_chain(true), "drop", {expr::Verdict{kDropIt, {}}}},
  };
  for (const char* chain : {"nat_prerouting", "nat_output"}) {
    rules.push_back(restricted_rule(f, chain, false, "restricted", {}));
    rules.push_back({chain, "services", load_frontend(f, false, 0) + find_code(SetId::Services, "dispatch")});
    rules.push_back({chain, "nodeports", to_this_node(f) + Exprs{go("nodeports")}});
  }
  rules.push_back(masquerade_rule(settings));
  rules.push_back(
      {"nat_postrouting", "hairpin",
       translated(true) + Exprs{source(f, 0), destination(f, address_registers(f)),
                                expr::Lookup{name_of(SetId::Hairpin), 0, std::nullopt}, expr::Masquerade{}}});
  const Exprs refuse_services = load_frontend(f, false, 0) + find_code(SetId::Services, "refuse");
  rules.push_back({"filter_input", "services", new_and_untranslated() + refuse_services});
  rules.push_back(
      {"filter_input", "nodeports", new_and_untranslated() + to_this_node(f) + Exprs{go("refused_nodeports")}});
  if (settings.drop_invalid) {
    rules.push_back({"filter_forward", "invalid", connection_state(1) + Exprs{expr::Verdict{kDropIt, {}}}});
  }
  rules.push_back({"filter_forward", "refused", new_and_untranslated() + Exprs{go("refused")}});
  rules.push_back({"filter_output", "refused", new_and_untranslated() + Exprs{go("refused")}});
  rules.push_back({"refused", "services", refuse_services});
  rules.push_back({"refused",
                   "unknown ports",
                   {destination(f, 0), expr::Lookup{name_of(SetId::ClusterIps), 0, std::nullopt}, go("reject")}});
  rules.push_back({"refused", "unallocated", {go("unallocated")}});
  for (const bool node_port : {false, true}) {
    for (nft::Rule& rule : refused_externals_rules(f, node_port)) rules.push_back(std::move(rule));
  }
  return rules;
}

std::vector<std::string> node_chains() { return {"strangers", "nodeports", "refused_nodeports", "unallocated"}; }

std::vector<nft::Rule> node_rules(Family f, const Settings& settings, const model::NodeState& node) {
  std::vector<nft::Rule> rules = strangers_rules(f, settings, node);
  for (nft::Rule& rule : node_port_rules(f, node)) rules.push_back(std::move(rule));
  for (const net::Prefix& prefix : of_family(f, node.service_cidrs)) {
    rules.push_back({"unallocated", prefix.to_string(),
                     match(destination(f, 0), prefix, true) + Exprs{expr::Verdict{kDropIt, {}}}});
  }
  return rules;
}

std::vector<net::Prefix> node_port_addresses(Family f, const model::NodeState& node) {
  std::vector<net::Prefix> prefixes = of_family(f, node.node_port_addresses);
  const auto everything =
      std::find_if(prefixes.begin(), prefixes.end(), [](const net::Prefix& p) { return p.length == 0; });
  return everything == prefixes.end() ? prefixes : std::vector<net::Prefix>{*everything};
}

std::string node_text(Family f, const model::NodeState& node) {
  std::string out;
  for (const nft::Rule& rule : node_rules(f, {}, node)) out += base::cat(rule.chain, " ", rule.comment, "\n");
  return out;
}

std::vector<nft::Rule> code_rules(Family f, std::uint32_t code, const Settings& settings,
                                  const model::NodeState& node) {
  if ((code & kPick) != 0) return pick_rules(code);
  if ((code & kShort) != 0) return short_rules(f, code, settings, node);
  return (code & kSticky) != 0 ? sticky_rules(f, code, settings) : balance_rules(f, code, settings);
}

nft::Rule length_rule(Family f, const RangeLength& length) {
  const std::uint32_t after = address_registers(f) + 2;
  return {restricted_chain(length.node_port), base::cat("/", static_cast<unsigned>(length.bits)),
          load_frontend(f, length.node_port, 0) +
              Exprs{source(f, after), expr::Mask{after, mask_of(f, length.bits), std::string(address_size(f), '\0')},
                    expr::LoadValue{in_register(length.bits), after + address_registers(f)},
                    expr::Lookup{name_of(SetId::Ranges), 0, std::nullopt}, expr::Verdict{expr::Then::Return, {}}}};
}

}  // namespace fairlead::proxy::dataplane::nftables
