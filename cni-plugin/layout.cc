#include "cni-plugin/layout.h"

#include <array>
#include <charconv>
#include <cstring>

#include "base/strings.h"
#include "cni-plugin/marks.h"
#include "net/netlink_message.h"
#include "net/nft/match.h"

namespace fairlead::cni {
namespace {

using base::cat;
using net::Family;
namespace expr = nft::expr;
using namespace nft::match;
using nft::DataType;

constexpr std::int32_t kNatDestination = -100;   // NF_IP_PRI_NAT_DST
constexpr std::int32_t kNatSource = 100;         // NF_IP_PRI_NAT_SRC
constexpr std::int32_t kBridgeFirst = -300;      // NF_BR_PRI_NAT_DST_BRIDGED
constexpr std::uint32_t kLocal = 2;              // RTN_LOCAL (linux v6.1 include/uapi/linux/rtnetlink.h)
constexpr std::uint32_t kDestinationNat = 0x20;  // IPS_DST_NAT (linux v6.1 nf_conntrack_common.h)
constexpr std::uint32_t kKnown = 2 | 4;          // NF_CT_STATE_BIT of ESTABLISHED and of RELATED

// Registers: keys are loaded from the first one, values of Ports and Bound from this one. With IPv6 all 16 are in use.
constexpr std::uint32_t kValue = 6;

const char* suffix(Family f) { return f == Family::V4 ? "4" : "6"; }
std::string named(const char* name, Family f) { return base::cat(name, suffix(f)); }

expr::Mask keep_bits(Family f, std::uint32_t reg, std::uint32_t bits) {
  return {reg, mask_of(f, bits), std::string(address_size(f), '\0')};
}
expr::Lookup in(SetId set, std::uint32_t key = 0) { return {set_of(set).name, key, std::nullopt}; }
expr::Verdict jump(const std::string& chain) { return {expr::Then::Jump, chain}; }
expr::Verdict then(expr::Then what) { return {what, {}}; }

Exprs only(Family f) {
  return {expr::LoadMeta{expr::MetaKey::NfProtocol, 0},
          expr::Compare{0, true, std::string(1, static_cast<char>(f == Family::V4 ? 2 : 10))}};
}
// Goes on where one of `bits` is set in register 0, or where none is.
Exprs bits_set(std::uint32_t bits, bool set = true) {
  return {expr::Mask{0, bytes_of(bits), bytes_of(0)}, expr::Compare{0, !set, bytes_of(0)}};
}
Exprs translated(bool yes = true) {
  return Exprs{expr::LoadCt{expr::CtKey::Status, 0}} + bits_set(kDestinationNat, yes);
}
Exprs of_known_flow(bool yes = true) { return Exprs{expr::LoadCt{expr::CtKey::State, 0}} + bits_set(kKnown, yes); }
Exprs change_mark(std::uint32_t clear, std::uint32_t set) {
  return {expr::LoadMeta{expr::MetaKey::Mark, 0}, expr::Mask{0, bytes_of(~clear), bytes_of(set)},
          expr::SetMeta{expr::MetaKey::Mark, 0}};
}
Exprs mark_has(std::uint32_t bit) { return Exprs{expr::LoadMeta{expr::MetaKey::Mark, 0}} + bits_set(bit); }
// Goes on where the address that `load` puts into register 0 lies in a network, or where it does not.
Exprs lies_in(const expr::LoadPayload& load, Family f, const std::string& network, std::uint32_t bits,
              bool inside = true) {
  return {load, keep_bits(f, 0, bits), expr::Compare{0, inside, network}};
}
Exprs interface_in(expr::MetaKey which, SetId set) { return {expr::LoadMeta{which, 0}, in(set)}; }

// From kValue on: the container's port, the pod's address; where the packet's destination is an open host port, of
// those that are open under these conditions. A key may reach into the value's registers: it is read before they are
// written.
Exprs find_port(Family f, bool bound, const Conditions& under = {}) {
  const std::uint32_t id = bound ? address_registers(f) : 0;
  const Exprs load_id = under.empty() ? Exprs{} : Exprs{expr::LoadValue{id_of(under), id}};
  const Exprs key = exprs_of(under, f) +
                    (bound ? Exprs{destination(f, 0)}
                           : Exprs{expr::LoadAddressType{false, 0}, expr::Compare{0, true, bytes_of(kLocal)}}) +
                    load_id + load_port(under.empty() ? id : id + 2);
  const SetId any = bound ? SetId::Bound4 : SetId::Ports4;
  const SetId when = bound ? SetId::WhenBound4 : SetId::WhenPorts4;
  return key + Exprs{expr::Lookup{set_of(of_family(under.empty() ? any : when, f)).name, 0, kValue}};
}
Exprs to_pod(Family f) { return {expr::Dnat{f, kValue + 1, kValue}}; }

struct Standing {
  nft::Chain chain;
  std::vector<std::pair<const char*, Exprs>> rules;
};

nft::Chain base(const char* name, nft::ChainType type, nft::Hook hook, std::int32_t priority) {
  return {name, nft::BaseChain{type, hook, priority}};
}

// No rule of it is ever removed, so a change of one needs another text.
std::vector<Standing> ports(Family f) {
  return {{{named("marks", f), {}}, {}},
          {{named("when", f), {}}, {}},
          {{named("ports", f), {}},
           {{"who needs to be masqueraded", {jump(named("marks", f))}},
            {"host ports under a condition", {jump(named("when", f))}},
            {"host ports of one address", find_port(f, true) + to_pod(f)},
            {"host ports", find_port(f, false) + to_pod(f)}}},
          {{named("hairpin", f), {}}, {}}};
}

std::vector<Standing> leaving(Family f) {
  const std::string multicast = f == Family::V4 ? std::string("\xe0\0\0\0", 4) : "\xff" + std::string(15, '\0');
  return {{{named("near", f), {}}, {}},
          {{named("leaving", f), {}},
           {{"the pod's own subnet", {jump(named("near", f))}},
            {"multicast",
             lies_in(destination(f, 0), f, multicast, f == Family::V4 ? 4 : 8) + Exprs{then(expr::Then::Accept)}},
            {"everybody else", {expr::Masquerade{}}}}}};
}

// To the pod: what answers, and what was sent to it by a host port or a Service.
void open(Family f, Standing& forward) {
  const SetId set = of_family(SetId::Open4, f);
  const Exprs let = change_mark(kForwardMark, kForwardMark);
  const Exprs to_pod = only(f) + Exprs{destination(f, 0), in(set)};
  forward.rules.emplace_back("from a pod", only(f) + Exprs{source(f, 0), in(set)} + let);
  forward.rules.emplace_back("answers to a pod", to_pod + of_known_flow() + let);
  forward.rules.emplace_back("translated to a pod", to_pod + translated() + let);
}

// route_localnet opens 127/8 to the links it is set on (CVE-2020-8558); only answers to localhost:hostPort may pass.
Standing guard() {
  const Family f = Family::V4;
  const std::string loopback("\x7f\0\0\0", 4);
  const Exprs from_a_link =
      only(f) + Exprs{expr::LoadMeta{expr::MetaKey::InputName, 0}, expr::Compare{0, false, interface_bytes("lo")}};
  const Exprs drop_unknown = of_known_flow(false) + translated(false) + Exprs{then(expr::Then::Drop)};
  return {base("input", nft::ChainType::Filter, nft::Hook::Input, 0),
          {{"127/8 is for this host", from_a_link + lies_in(destination(f, 0), f, loopback, 8) + drop_unknown},
           {"127/8 is this host", from_a_link + lies_in(source(f, 0), f, loopback, 8) + drop_unknown}}};
}

std::vector<Standing> inet_standing() {
  std::vector<Standing> all;
  Standing prerouting{base("prerouting", nft::ChainType::Nat, nft::Hook::Prerouting, kNatDestination), {}};
  Standing output{base("output", nft::ChainType::Nat, nft::Hook::Output, kNatDestination), {}};
  Standing postrouting{base("postrouting", nft::ChainType::Nat, nft::Hook::Postrouting, kNatSource), {}};
  Standing forward{base("forward", nft::ChainType::Filter, nft::Hook::Forward, -1), {}};
  forward.rules.emplace_back("between bridges", Exprs{jump("fences")});
  for (const Family f : {Family::V4, Family::V6}) {
    for (auto& chain : ports(f)) all.push_back(std::move(chain));
    for (auto& chain : leaving(f)) all.push_back(std::move(chain));
    const Exprs to_ports{jump(named("ports", f))};
    prerouting.rules.emplace_back("host ports", only(f) + to_ports);
    // There is no route_localnet for IPv6: what comes from ::1 cannot leave the host.
    const Exprs elsewhere =
        f == Family::V4 ? Exprs{} : lies_in(destination(f, 0), f, std::string(15, '\0') + '\1', 128, false);
    output.rules.emplace_back("host ports, from the host itself", only(f) + elsewhere + to_ports);
    postrouting.rules.emplace_back("to a host port", only(f) + Exprs{jump(named("hairpin", f))});
    postrouting.rules.emplace_back(
        "from a pod", only(f) + Exprs{source(f, 0), in(of_family(SetId::Leaving4, f)), jump(named("leaving", f))});
    open(f, forward);
  }
  all.push_back({{"fences", {}},
                 {{"within a bridge",
                   {expr::LoadMeta{expr::MetaKey::InputName, 0}, expr::LoadMeta{expr::MetaKey::OutputName, 4},
                    in(SetId::FenceLoops), then(expr::Then::Return)}},
                  {"from one bridge to another", interface_in(expr::MetaKey::InputName, SetId::Fences) +
                                                     interface_in(expr::MetaKey::OutputName, SetId::Fences) +
                                                     Exprs{then(expr::Then::Drop)}}}});
  for (Standing* chain : {&prerouting, &output, &postrouting, &forward}) all.push_back(std::move(*chain));
  all.push_back({base("forwarded", nft::ChainType::Filter, nft::Hook::Forward, 1),
                 {{"the mark has served", mark_has(kForwardMark) + change_mark(kForwardMark, 0)}}});
  all.push_back(guard());
  return all;
}

std::vector<Standing> bridge_standing() {
  const expr::LoadPayload source_mac{expr::Base::Link, 6, 6, 4};
  const Exprs drop{then(expr::Then::Drop)};
  return {{base("prerouting", nft::ChainType::Filter, nft::Hook::Prerouting, kBridgeFirst),
           {{"a pod's own address",
             {expr::LoadMeta{expr::MetaKey::InputName, 0}, source_mac, in(SetId::Macs), then(expr::Then::Accept)}},
            {"any other", interface_in(expr::MetaKey::InputName, SetId::GuardedPorts) + drop}}},
          {base("forward", nft::ChainType::Filter, nft::Hook::Forward, 0),
           {{"to a closed port", interface_in(expr::MetaKey::OutputName, SetId::ClosedPorts) + drop},
            {"from a closed port", interface_in(expr::MetaKey::InputName, SetId::ClosedPorts) + drop}}}};
}

bool is_bridge(const nft::TableId& table) { return table.layer == nft::TableId::Layer::Bridge; }
std::vector<Standing> standing(const nft::TableId& table) {
  return is_bridge(table) ? bridge_standing() : inet_standing();
}

std::vector<nft::Set> make_sets() {
  using Kind = nft::Set::Kind;
  const auto pair = [](const char* name, std::vector<DataType> before, std::vector<DataType> after, bool map) {
    std::vector<nft::Set> sets;
    for (const Family f : {Family::V4, Family::V6}) {
      const DataType address = f == Family::V4 ? DataType::Ipv4 : DataType::Ipv6;
      nft::Set set{.name = named(name, f), .kind = map ? Kind::Map : Kind::Set, .key = before, .data = {}};
      if (map) set.data = {DataType::Service, address};
      for (DataType& field : set.key) field = field == DataType::Ipv4 ? address : field;
      set.key.insert(set.key.end(), after.begin(), after.end());
      sets.push_back(std::move(set));
    }
    return sets;
  };
  const auto one = [](const char* name, std::vector<DataType> key) {
    return std::vector<nft::Set>{{.name = name, .kind = Kind::Set, .key = std::move(key), .data = {}}};
  };
  const DataType a = DataType::Ipv4;
  const DataType link = DataType::InterfaceName;
  std::vector<nft::Set> all;
  for (auto& sets :
       {pair("leaving", {a}, {}, false), pair("near", {a, a}, {DataType::Mark}, false),
        pair("ports", {}, {DataType::Protocol, DataType::Service}, true),
        pair("bound", {a}, {DataType::Protocol, DataType::Service}, true),
        pair("when-ports", {}, {DataType::Mark, DataType::Mark, DataType::Protocol, DataType::Service}, true),
        pair("when-bound", {a}, {DataType::Mark, DataType::Mark, DataType::Protocol, DataType::Service}, true),
        pair("sources", {a, a}, {DataType::Mark}, false), pair("open", {a}, {}, false), one("fences", {link}),
        one("fence-loops", {link, link}), one("fence-users", {link, DataType::Mark, DataType::Mark}),
        one("guarded", {link}), one("macs", {link, DataType::Ether}), one("closed", {link})}) {
    all.insert(all.end(), sets.begin(), sets.end());
  }
  return all;
}

// For people, and different for each.
std::string when_text(const Conditions& conditions) {
  constexpr std::size_t kShown = 80;
  const std::string text = to_string(conditions);
  return cat("when ", digest(text), ": ", text.substr(0, kShown));
}

}  // namespace

const nft::Set& set_of(SetId id) {
  static const std::vector<nft::Set> sets = make_sets();
  return sets[static_cast<std::size_t>(id)];
}

Part part_of(SetId id) {
  if (id <= SetId::Near6) return Part::Masquerade;
  if (id <= SetId::Sources6) return Part::Ports;
  if (id <= SetId::FenceUsers || id == SetId::ClosedPorts) return Part::Firewall;
  return Part::Spoof;
}

const nft::TableId& table_of(SetId id) { return id >= SetId::GuardedPorts ? kBridgeTable : kTable; }

SetId of_family(SetId v4, Family family) {
  return family == Family::V4 ? v4 : static_cast<SetId>(static_cast<std::uint8_t>(v4) + 1);
}

std::vector<nft::Rule> rules_of(const Extra& extra) {
  const Family f = extra.family;
  const std::uint32_t n = address_registers(f);
  const std::uint32_t length = extra.code & 0xff;
  const std::string text = base::cat("/", length);
  if (extra.kind == Extra::Kind::Near) {
    return {{named("near", f),
             text,
             {source(f, 0), destination(f, n), keep_bits(f, n, length), expr::LoadValue{bytes_of(extra.code), 2 * n},
              in(of_family(SetId::Near4, f)), then(expr::Then::Accept)}}};
  }
  if (extra.kind == Extra::Kind::When) {
    const std::string named_so = when_text(extra.conditions);
    return {{named("when", f), cat(named_so, ", one address"), find_port(f, true, extra.conditions) + to_pod(f)},
            {named("when", f), named_so, find_port(f, false, extra.conditions) + to_pod(f)}};
  }
  const std::uint32_t bit = 1U << (extra.code >> 8);
  const SetId set = of_family(SetId::Sources4, f);
  const std::uint32_t pod = kValue + 1;
  const Exprs mark_source = Exprs{source(f, pod + n), keep_bits(f, pod + n, length),
                                  expr::LoadValue{bytes_of(extra.code), pod + 2 * n}, in(set, pod)} +
                            change_mark(bit, bit);
  const Exprs is_source{destination(f, 0), source(f, n), keep_bits(f, n, length),
                        expr::LoadValue{bytes_of(extra.code), 2 * n}, in(set)};
  const bool any = extra.conditions.empty();
  const std::string marked =
      cat(text, " with bit ", extra.code >> 8, any ? "" : " ", any ? "" : when_text(extra.conditions));
  std::vector<nft::Rule> rules{
      {named("marks", f), cat(marked, ", one address"), find_port(f, true, extra.conditions) + mark_source},
      {named("marks", f), marked, find_port(f, false, extra.conditions) + mark_source}};
  if (any)
    rules.push_back(
        {named("hairpin", f), marked, mark_has(bit) + translated() + is_source + Exprs{expr::Masquerade{}}});
  return rules;
}

std::string id_of(const Conditions& conditions) { return digest_bytes(digest(to_string(conditions))); }

bool holds_extras(const std::string& chain) {
  return chain.starts_with("near") || chain.starts_with("marks") || chain.starts_with("hairpin") ||
         chain.starts_with("when");
}

nft::Batch create_table(const nft::TableId& table) {
  nft::Batch batch{nft::AddTable{table, "pods of fairlead-cni"}};
  for (const SetId id : kSets) {
    if (table_of(id) == table) batch.push_back(nft::AddSet{table, set_of(id)});
  }
  const std::vector<Standing> chains = standing(table);
  for (const Standing& chain : chains) {
    batch.push_back(nft::AddChain{table, chain.chain});
    batch.push_back(nft::FlushChain{table, chain.chain.name});
  }
  for (const Standing& chain : chains) {
    for (const auto& [text, exprs] : chain.rules) batch.push_back(nft::AddRule{table, {chain.chain.name, text, exprs}});
  }
  return batch;
}

std::vector<nft::DumpedRule> standing_rules(const nft::TableId& table) {
  std::vector<nft::DumpedRule> rules;
  for (const Standing& chain : standing(table)) {
    for (const auto& rule : chain.rules) rules.push_back({chain.chain.name, rule.first});
  }
  return rules;
}

nft::TableId filter_table(Family family) { return {family, "filter"}; }

ForwardRules forward_rules(const std::string& admin_chain) {
  // Not a native comparison: iptables-nft before 1.8.8 lists that as a rule that accepts everything.
  const expr::XtMatch marked{"mark", 1, bytes_of(kForwardMark) + bytes_of(kForwardMark) + bytes_of(0)};
  return {.jump = {kForwardChain, "CNI firewall plugin rules", {expr::Counter{}, jump(kCniForwardChain)}},
          .admin = {kCniForwardChain,
                    base::cat("CNI firewall plugin admin overrides: ", admin_chain),
                    {expr::Counter{}, jump(admin_chain)}},
          .accept = {kCniForwardChain, "pods of fairlead-cni", {marked, expr::Counter{}, then(expr::Then::Accept)}}};
}

nft::Element element_of(const std::string& key, const std::string& data) {
  nft::Element e;
  key.copy(reinterpret_cast<char*>(e.key.data()), nft::Element::kMaxKey);
  data.copy(reinterpret_cast<char*>(e.data.data()), nft::Element::kMaxData);
  e.key_size = static_cast<std::uint8_t>(key.size());
  e.data_size = static_cast<std::uint8_t>(data.size());
  return e;
}

std::string bytes_of(const net::Ip& ip) {
  const auto& bytes = ip.bytes();
  const std::size_t size = address_size(ip.family());
  return {reinterpret_cast<const char*>(bytes.data()) + (bytes.size() - size), size};
}
net::Ip ip_of(std::string_view bytes) {
  if (bytes.size() == 4) return net::Ip::from_v4_be(net::netlink_value<std::uint32_t>(bytes));
  return net::Ip::from_bytes(net::netlink_value<std::array<std::uint8_t, 16>>(bytes));
}
std::string bytes_of(std::uint32_t number) { return {reinterpret_cast<const char*>(&number), sizeof number}; }
std::string port_bytes(std::uint16_t port) {
  return {static_cast<char>(port >> 8), static_cast<char>(port & 0xff), '\0', '\0'};
}
std::string interface_bytes(const std::string& name) {
  std::string bytes = name;
  bytes.resize(16);  // IFNAMSIZ
  return bytes;
}

std::string digest_bytes(const std::string& digest) {
  const auto half = [&](std::size_t at) {
    std::uint32_t number = 0;
    std::from_chars(digest.data() + at, digest.data() + at + 8, number, 16);
    return bytes_of(number);
  };
  return half(0) + half(8);
}

}  // namespace fairlead::cni
