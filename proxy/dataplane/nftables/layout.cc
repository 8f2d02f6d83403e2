#include "proxy/dataplane/nftables/layout.h"

#include <cstring>
#include <map>

#include "base/strings.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

using net::Family;
using nft::DataType;
namespace expr = nft::expr;

// A service has at most this many endpoints; an element beyond was not written by us.
constexpr std::uint32_t kMaxIndex = 1U << 20;

constexpr std::int32_t kBeforeRouting = -100;  // NF_IP_PRI_NAT_DST, "dstnat"
constexpr std::int32_t kSourceNat = 100;       // NF_IP_PRI_NAT_SRC, "srcnat"
constexpr std::int32_t kFilter = 0;            // NF_IP_PRI_FILTER

DataType address_type(Family family) { return family == Family::V4 ? DataType::Ipv4 : DataType::Ipv6; }
std::uint32_t address_size(Family family) { return family == Family::V4 ? 4 : 16; }
std::uint32_t address_registers(Family family) { return address_size(family) / 4; }

std::string in_register(std::uint32_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

std::vector<nft::Set> sets(Family family) {
  const DataType address = address_type(family);
  using Kind = nft::Set::Kind;
  return {
      {"services", Kind::Map, {address, DataType::Protocol, DataType::Service}, {DataType::Mark}},
      {"nodeports", Kind::Map, {DataType::Protocol, DataType::Service}, {DataType::Mark}},
      {"endpoints",
       Kind::Map,
       {address, DataType::Protocol, DataType::Service, DataType::Mark},
       {address, DataType::Service}},
      {"hairpin", Kind::Set, {address, address}, {}},
      {"dispatch", Kind::VerdictMap, {DataType::Mark}, {}},
      {"refuse", Kind::VerdictMap, {DataType::Mark}, {}},
  };
}

std::vector<nft::VerdictElement> refusals() { return {{kReject, "reject"}, {kDrop, ""}}; }

using Exprs = std::vector<nft::Expr>;

Exprs operator+(Exprs a, const Exprs& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

expr::LoadPayload source(Family f, std::uint32_t to) {
  return {expr::Base::Network, f == Family::V4 ? 12U : 8U, address_size(f), to};
}
expr::LoadPayload destination(Family f, std::uint32_t to) {
  return {expr::Base::Network, f == Family::V4 ? 16U : 24U, address_size(f), to};
}
// l4proto . dport; the destination port stands at byte 2 in TCP, UDP and SCTP alike.
Exprs load_port(std::uint32_t to) {
  return {expr::LoadMeta{expr::MetaKey::L4Protocol, to}, expr::LoadPayload{expr::Base::Transport, 2, 2, to + 1}};
}
Exprs load_frontend(Family f) { return Exprs{destination(f, 0)} + load_port(address_registers(f)); }

// Is the destination an address of this node, other than loopback?
Exprs to_this_node(Family f) {
  Exprs exprs{expr::LoadAddressType{0}, expr::Compare{0, true, in_register(2 /* RTN_LOCAL */)}, destination(f, 0)};
  if (f == Family::V4) {
    exprs.push_back(expr::Mask{0, std::string("\xff\0\0\0", 4), std::string(4, '\0')});
    exprs.push_back(expr::Compare{0, false, std::string("\x7f\0\0\0", 4)});
  } else {
    exprs.push_back(expr::Compare{0, false, std::string(15, '\0') + '\x01'});
  }
  return exprs;
}

Exprs new_connection() {
  // NF_CT_STATE_BIT(IP_CT_NEW) of linux v6.1 include/uapi/linux/netfilter/nf_conntrack_common.h
  return {expr::LoadCt{expr::CtKey::State, 0}, expr::Mask{0, in_register(8), in_register(0)},
          expr::Compare{0, false, in_register(0)}};
}

// The code travels from one map to the other through skb->priority: nft 1.0.6 dies on listing a map's value that is
// looked up again directly ("netlink_parse_concat_expr: Assertion `consumed > 0' failed").
Exprs find_code(const char* map, const char* verdicts) {
  return {expr::Lookup{map, 0, 0}, expr::SetMeta{expr::MetaKey::Priority, 0},
          expr::LoadMeta{expr::MetaKey::Priority, 0}, expr::Lookup{verdicts, 0, std::nullopt, true}};
}

nft::Rule services_rule(Family f, const char* chain) {
  return {chain, "services", load_frontend(f) + find_code("services", "dispatch")};
}
nft::Rule node_ports_rule(Family f, const char* chain) {
  return {chain, "nodeports", to_this_node(f) + load_port(0) + find_code("nodeports", "dispatch")};
}
nft::Rule refused_rule(Family f, const char* chain) {
  return {chain, "refused services", new_connection() + load_frontend(f) + find_code("services", "refuse")};
}

std::vector<nft::Chain> chains() {
  using nft::ChainType;
  using nft::Hook;
  return {
      {"reject", {}},
      {"nat_prerouting", nft::BaseChain{ChainType::Nat, Hook::Prerouting, kBeforeRouting}},
      {"nat_output", nft::BaseChain{ChainType::Nat, Hook::Output, kBeforeRouting}},
      {"nat_postrouting", nft::BaseChain{ChainType::Nat, Hook::Postrouting, kSourceNat}},
      {"filter_input", nft::BaseChain{ChainType::Filter, Hook::Input, kFilter}},
      {"filter_forward", nft::BaseChain{ChainType::Filter, Hook::Forward, kFilter}},
      {"filter_output", nft::BaseChain{ChainType::Filter, Hook::Output, kFilter}},
  };
}

std::vector<nft::Rule> rules(Family f, std::uint32_t mark) {
  const std::uint32_t second = address_registers(f);
  return {
      {"reject",
       "tcp",
       {expr::LoadMeta{expr::MetaKey::L4Protocol, 0}, expr::Compare{0, true, std::string(1, '\x06')},
        expr::TcpReset{}}},
      {"reject", "other", {expr::PortUnreachable{f}}},
      services_rule(f, "nat_prerouting"),
      node_ports_rule(f, "nat_prerouting"),
      services_rule(f, "nat_output"),
      node_ports_rule(f, "nat_output"),
      {"nat_postrouting",
       "masquerade",
       {expr::LoadMeta{expr::MetaKey::Mark, 0}, expr::Mask{0, in_register(mark), in_register(0)},
        expr::Compare{0, false, in_register(0)}, expr::LoadMeta{expr::MetaKey::Mark, 0},
        expr::Mask{0, in_register(~mark), in_register(0)}, expr::SetMeta{expr::MetaKey::Mark, 0}, expr::Masquerade{}}},
      {"nat_postrouting", "hairpin",
       Exprs{expr::LoadCt{expr::CtKey::Status, 0}, expr::Mask{0, in_register(0x20 /* IPS_DST_NAT */), in_register(0)},
             expr::Compare{0, false, in_register(0)}, source(f, 0), destination(f, second),
             expr::Lookup{"hairpin", 0, std::nullopt}, expr::Masquerade{}}},
      refused_rule(f, "filter_input"),
      {"filter_input", "refused nodeports",
       new_connection() + to_this_node(f) + load_port(0) + find_code("nodeports", "refuse")},
      refused_rule(f, "filter_forward"),
      refused_rule(f, "filter_output"),
  };
}

nft::Rule code_rule(Family f, std::uint32_t code, std::uint32_t mark) {
  const std::string chain = chain_of(code);
  Exprs exprs{expr::LoadValue{in_register(0), 0}, expr::SetMeta{expr::MetaKey::Priority, 0}};
  if ((code & kMasquerade) != 0) {
    exprs = std::move(exprs) + Exprs{expr::LoadMeta{expr::MetaKey::Mark, 0},
                                     expr::Mask{0, in_register(~mark), in_register(mark)},
                                     expr::SetMeta{expr::MetaKey::Mark, 0}};
  }
  const std::uint32_t after = address_registers(f);
  if ((code & kNodePort) != 0) {
    exprs.push_back(expr::LoadValue{std::string(address_size(f), '\0'), 0});
  } else {
    exprs.push_back(destination(f, 0));
  }
  return {
      chain, chain,
      exprs + load_port(after) +
          Exprs{expr::Random{code & kCountMask, after + 2}, expr::Lookup{"endpoints", 0, 0}, expr::Dnat{f, 0, after}}};
}

std::string table_comment(std::uint32_t mark) { return base::cat("fairlead layout ", kLayoutVersion, ", mark ", mark); }

// Writes fields one after the other, each padded to a register.
class Writer {
 public:
  explicit Writer(std::uint8_t* at) : start_(at), at_(at) {}
  Writer& address(Family family, const net::Ip& ip) {
    const std::uint32_t size = address_size(family);
    std::memcpy(at_, ip.bytes().data() + (16 - size), size);
    at_ += size;
    return *this;
  }
  Writer& no_address(Family family) {
    at_ += address_size(family);
    return *this;
  }
  Writer& protocol(model::Protocol p) {
    *at_ = static_cast<std::uint8_t>(p);
    at_ += 4;
    return *this;
  }
  Writer& port(std::uint16_t p) {
    at_[0] = static_cast<std::uint8_t>(p >> 8);
    at_[1] = static_cast<std::uint8_t>(p);
    at_ += 4;
    return *this;
  }
  Writer& number(std::uint32_t n) {
    std::memcpy(at_, &n, sizeof n);
    at_ += 4;
    return *this;
  }
  std::uint8_t size() const { return static_cast<std::uint8_t>(at_ - start_); }

 private:
  std::uint8_t* start_;
  std::uint8_t* at_;
};

class Reader {
 public:
  explicit Reader(const std::uint8_t* at) : at_(at) {}
  net::Ip address(Family family) {
    const std::uint8_t* from = std::exchange(at_, at_ + address_size(family));
    if (family == Family::V4) return net::Ip::v4(from[0], from[1], from[2], from[3]);
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), from, bytes.size());
    return net::Ip::from_bytes(bytes);
  }
  model::Protocol protocol() { return static_cast<model::Protocol>(*std::exchange(at_, at_ + 4)); }
  std::uint16_t port() {
    const std::uint8_t* from = std::exchange(at_, at_ + 4);
    return static_cast<std::uint16_t>(from[0] << 8 | from[1]);
  }
  std::uint32_t number() {
    std::uint32_t n = 0;
    std::memcpy(&n, std::exchange(at_, at_ + 4), sizeof n);
    return n;
  }

 private:
  const std::uint8_t* at_;
};

std::string chain_text(const nft::Chain& chain) {
  if (!chain.base) return chain.name;
  return base::cat(chain.name, " at hook ", static_cast<int>(chain.base->hook), " priority ", chain.base->priority);
}

// The rules expected per chain, by comment; a chain of a code has the one rule called as itself.
std::string compare_chains(const nft::TableDump& dump, std::uint32_t mark, std::set<std::uint32_t>& codes) {
  std::map<std::string, std::vector<std::string>> expected;
  std::map<std::string, nft::Chain> fixed;
  for (const nft::Chain& chain : chains()) {
    expected[chain.name];
    fixed[chain.name] = chain;
  }
  for (const nft::Rule& rule : rules(Family::V4, mark)) expected[rule.chain].push_back(rule.comment);
  for (const nft::Chain& chain : dump.chains) {
    auto it = fixed.find(chain.name);
    if (it != fixed.end()) {
      if (!(it->second == chain)) return base::cat("chain ", chain_text(chain), " is not as written");
      fixed.erase(it);
      continue;
    }
    const auto code = code_of_chain(chain.name);
    if (!code || chain.base) return base::cat("chain ", chain_text(chain), " is not ours");
    codes.insert(*code);
    expected[chain.name] = {chain.name};
  }
  if (!fixed.empty()) return base::cat("chain ", fixed.begin()->first, " is missing");
  std::map<std::string, std::vector<std::string>> found;
  for (const auto& [name, ignored] : expected) found[name];
  for (const nft::DumpedRule& rule : dump.rules) found[rule.chain].push_back(rule.comment);
  for (const auto& [name, comments] : found) {
    if (comments != expected[name]) return base::cat("the rules of chain ", name, " are not as written");
  }
  return {};
}

std::string compare_sets(const nft::TableDump& dump, Family family) {
  std::map<std::string, nft::Set> expected;
  for (const nft::Set& set : sets(family)) expected[set.name] = set;
  for (const nft::Set& set : dump.sets) {
    auto it = expected.find(set.name);
    if (it == expected.end() || !(it->second == set)) return base::cat("set ", set.name, " is not ours");
    expected.erase(it);
  }
  return expected.empty() ? std::string() : base::cat("set ", expected.begin()->first, " is missing");
}

}  // namespace

const char* name_of(SetId set) {
  switch (set) {
    case SetId::Services: return "services";
    case SetId::NodePorts: return "nodeports";
    case SetId::Endpoints: return "endpoints";
    case SetId::Hairpin: return "hairpin";
  }
  return "?";
}

nft::Batch create_table(const nft::TableId& table, std::uint32_t mark) {
  nft::Batch batch{nft::AddTable{table, table_comment(mark)}};
  for (nft::Set& set : sets(table.family)) batch.push_back(nft::AddSet{table, std::move(set)});
  for (nft::Chain& chain : chains()) batch.push_back(nft::AddChain{table, std::move(chain)});
  batch.push_back(nft::AddVerdicts{table, "refuse", refusals()});
  for (nft::Rule& rule : rules(table.family, mark)) batch.push_back(nft::AddRule{table, std::move(rule)});
  return batch;
}

void add_code(nft::Batch& batch, const nft::TableId& table, std::uint32_t code, std::uint32_t mark) {
  const std::string chain = chain_of(code);
  batch.push_back(nft::AddChain{table, {chain, {}}});
  batch.push_back(nft::AddRule{table, code_rule(table.family, code, mark)});
  batch.push_back(nft::AddVerdicts{table, "dispatch", {{code, chain}}});
}

Inspection inspect(const nft::TableDump& dump, const std::vector<nft::VerdictElement>& dispatch,
                   const std::vector<nft::VerdictElement>& refuse, const nft::TableId& table, std::uint32_t mark) {
  Inspection result;
  if (dump.comment != table_comment(mark)) {
    result.mismatch = base::cat("its comment is \"", dump.comment, "\", not \"", table_comment(mark), "\"");
    return result;
  }
  result.mismatch = compare_sets(dump, table.family);
  if (result.mismatch.empty()) result.mismatch = compare_chains(dump, mark, result.codes);
  if (!result.mismatch.empty()) return result;
  std::set<nft::VerdictElement> wanted;
  for (std::uint32_t code : result.codes) wanted.insert({code, chain_of(code)});
  const auto wanted_refusals = refusals();
  if (std::set(dispatch.begin(), dispatch.end()) != wanted ||
      std::set(refuse.begin(), refuse.end()) != std::set(wanted_refusals.begin(), wanted_refusals.end())) {
    result.mismatch = "the verdict maps are not as written";
  }
  return result;
}

nft::Element frontend_element(const FrontendKey& frontend, std::optional<std::uint32_t> code) {
  nft::Element e;
  Writer key(e.key.data());
  if (!frontend.node_port) key.address(frontend.family, frontend.address);
  e.key_size = key.protocol(frontend.protocol).port(frontend.port).size();
  if (code) e.data_size = Writer(e.data.data()).number(*code).size();
  return e;
}

nft::Element endpoint_element(const FrontendKey& frontend, std::uint32_t index, const Slot* slot) {
  nft::Element e;
  Writer key(e.key.data());
  if (frontend.node_port) {
    key.no_address(frontend.family);
  } else {
    key.address(frontend.family, frontend.address);
  }
  e.key_size = key.protocol(frontend.protocol).port(frontend.port).number(index).size();
  if (slot != nullptr) {
    e.data_size = Writer(e.data.data()).address(frontend.family, slot->address).port(slot->port).size();
  }
  return e;
}

nft::Element hairpin_element(const net::Ip& address) {
  nft::Element e;
  e.key_size = Writer(e.key.data()).address(address.family(), address).address(address.family(), address).size();
  return e;
}

std::optional<FrontendKey> parse_frontend(net::Family family, SetId set, const nft::Element& element) {
  const bool node_port = set == SetId::NodePorts;
  if (element.key_size != (node_port ? 0 : address_size(family)) + 8) return std::nullopt;
  Reader key(element.key.data());
  FrontendKey out;
  out.family = family;
  out.node_port = node_port;
  if (!node_port) out.address = key.address(family);
  out.protocol = key.protocol();
  out.port = key.port();
  return out;
}

std::uint32_t parse_code(const nft::Element& element) { return Reader(element.data.data()).number(); }

std::optional<ParsedEndpoint> parse_endpoint(net::Family family, const nft::Element& element) {
  if (element.key_size != address_size(family) + 12) return std::nullopt;
  Reader key(element.key.data());
  ParsedEndpoint out;
  out.frontend.family = family;
  const net::Ip address = key.address(family);
  out.frontend.node_port = address.is_unspecified();
  if (!out.frontend.node_port) out.frontend.address = address;
  out.frontend.protocol = key.protocol();
  out.frontend.port = key.port();
  out.index = key.number();
  if (element.data_size > 0) {
    Reader data(element.data.data());
    out.slot.address = data.address(family);
    out.slot.port = data.port();
    if (out.slot.empty()) return std::nullopt;
  }
  if (out.index >= kMaxIndex) return std::nullopt;
  return out;
}

std::optional<net::Ip> parse_hairpin(net::Family family, const nft::Element& element) {
  if (element.key_size != 2 * address_size(family)) return std::nullopt;
  Reader key(element.key.data());
  const net::Ip address = key.address(family);
  return address == key.address(family) ? std::optional(address) : std::nullopt;
}

}  // namespace fairlead::proxy::dataplane::nftables
