#include "net/nft/objects.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <utility>

namespace fairlead::net::nft {
namespace {

// Types of nft's user data (libnftnl include/libnftnl/udata.h).
constexpr char kUdataComment = 0;
constexpr char kUdataKeyByteOrder = 0;
constexpr char kUdataDataByteOrder = 1;

std::uint16_t nested(int type) { return static_cast<std::uint16_t>(type | NLA_F_NESTED); }

// NFT_REG32_00 + n: n counts from the first register.
std::uint32_t reg(std::uint32_t n) { return NFT_REG32_00 + n; }

void put_value(NetlinkMessage& m, std::uint16_t type, std::string_view bytes) {
  m.nest(nested(type), [&](NetlinkMessage& nest) { nest.attribute(NFTA_DATA_VALUE, bytes); });
}

// Each writes what stands in NFTA_EXPR_DATA and returns the expression's name.
const char* put(NetlinkMessage& m, const expr::LoadPayload& e) {
  m.be32(NFTA_PAYLOAD_DREG, reg(e.to)).be32(NFTA_PAYLOAD_BASE, static_cast<std::uint32_t>(e.base));
  m.be32(NFTA_PAYLOAD_OFFSET, e.offset).be32(NFTA_PAYLOAD_LEN, e.size);
  return "payload";
}
const char* put(NetlinkMessage& m, const expr::LoadMeta& e) {
  m.be32(NFTA_META_KEY, static_cast<std::uint32_t>(e.key)).be32(NFTA_META_DREG, reg(e.to));
  return "meta";
}
const char* put(NetlinkMessage& m, const expr::SetMeta& e) {
  m.be32(NFTA_META_KEY, static_cast<std::uint32_t>(e.key)).be32(NFTA_META_SREG, reg(e.from));
  return "meta";
}
const char* put(NetlinkMessage& m, const expr::LoadCt& e) {
  m.be32(NFTA_CT_KEY, static_cast<std::uint32_t>(e.key)).be32(NFTA_CT_DREG, reg(e.to));
  return "ct";
}
const char* put(NetlinkMessage& m, const expr::LoadValue& e) {
  m.be32(NFTA_IMMEDIATE_DREG, reg(e.to));
  put_value(m, NFTA_IMMEDIATE_DATA, e.bytes);
  return "immediate";
}
const char* put(NetlinkMessage& m, const expr::LoadAddressType& e) {
  m.be32(NFTA_FIB_DREG, reg(e.to)).be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
  m.be32(NFTA_FIB_FLAGS, e.of_source ? NFTA_FIB_F_SADDR : NFTA_FIB_F_DADDR);
  return "fib";
}
const char* put(NetlinkMessage& m, const expr::Random& e) {
  m.be32(NFTA_NG_DREG, reg(e.to)).be32(NFTA_NG_MODULUS, e.modulus);
  m.be32(NFTA_NG_TYPE, NFT_NG_RANDOM).be32(NFTA_NG_OFFSET, e.offset);
  return "numgen";
}
const char* put(NetlinkMessage& m, const expr::Mask& e) {
  m.be32(NFTA_BITWISE_SREG, reg(e.reg)).be32(NFTA_BITWISE_DREG, reg(e.reg));
  m.be32(NFTA_BITWISE_OP, NFT_BITWISE_BOOL).be32(NFTA_BITWISE_LEN, static_cast<std::uint32_t>(e.mask.size()));
  put_value(m, NFTA_BITWISE_MASK, e.mask);
  put_value(m, NFTA_BITWISE_XOR, e.exclusive_or);
  return "bitwise";
}
const char* put(NetlinkMessage& m, const expr::Compare& e) {
  m.be32(NFTA_CMP_SREG, reg(e.reg)).be32(NFTA_CMP_OP, e.equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
  put_value(m, NFTA_CMP_DATA, e.bytes);
  return "cmp";
}
const char* put(NetlinkMessage& m, const expr::Lookup& e) {
  m.text(NFTA_LOOKUP_SET, e.set).be32(NFTA_LOOKUP_SREG, reg(e.key));
  if (e.verdict) m.be32(NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
  if (e.to) m.be32(NFTA_LOOKUP_DREG, reg(*e.to));
  return "lookup";
}
int code_of(expr::Then then) {
  switch (then) {
    case expr::Then::Accept: return NF_ACCEPT;
    case expr::Then::Drop: return NF_DROP;
    case expr::Then::Goto: return NFT_GOTO;
    case expr::Then::Jump: return NFT_JUMP;
    case expr::Then::Return: return NFT_RETURN;
  }
  return NF_DROP;
}
const char* put(NetlinkMessage& m, const expr::Verdict& e) {
  m.be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  m.nest(nested(NFTA_IMMEDIATE_DATA), [&](NetlinkMessage& data) {
    data.nest(nested(NFTA_DATA_VERDICT), [&](NetlinkMessage& verdict) {
      verdict.be32(NFTA_VERDICT_CODE, static_cast<std::uint32_t>(code_of(e.then)));
      if (!e.chain.empty()) verdict.text(NFTA_VERDICT_CHAIN, e.chain);
    });
  });
  return "immediate";
}
const char* put(NetlinkMessage& m, const expr::Remember& e) {
  const bool update = e.what == expr::Remember::What::Update;
  m.text(NFTA_DYNSET_SET_NAME, e.set);
  m.be32(NFTA_DYNSET_OP, update ? NFT_DYNSET_OP_UPDATE : NFT_DYNSET_OP_DELETE);
  m.be32(NFTA_DYNSET_SREG_KEY, reg(e.key)).be32(NFTA_DYNSET_SREG_DATA, reg(e.data));
  if (update) m.be64(NFTA_DYNSET_TIMEOUT, std::uint64_t{e.seconds} * 1000);
  return "dynset";
}
std::uint32_t family_number(Family family) { return family == Family::V4 ? NFPROTO_IPV4 : NFPROTO_IPV6; }
const char* put(NetlinkMessage& m, const expr::Dnat& e) {
  m.be32(NFTA_NAT_TYPE, NFT_NAT_DNAT).be32(NFTA_NAT_FAMILY, family_number(e.family));
  m.be32(NFTA_NAT_REG_ADDR_MIN, reg(e.address)).be32(NFTA_NAT_REG_PROTO_MIN, reg(e.port));
  return "nat";
}
const char* put(NetlinkMessage& m, const expr::Masquerade&) {
  m.be32(NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
  return "masq";
}
const char* put(NetlinkMessage& m, const expr::TcpReset&) {
  m.be32(NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST).value(NFTA_REJECT_ICMP_CODE, std::uint8_t{0});
  return "reject";
}
const char* put(NetlinkMessage& m, const expr::PortUnreachable& e) {
  // ICMP_PORT_UNREACH 3 (RFC 792), ICMPV6_PORT_UNREACH 4 (RFC 4443)
  const std::uint8_t code = e.family == Family::V4 ? 3 : 4;
  m.be32(NFTA_REJECT_TYPE, NFT_REJECT_ICMP_UNREACH).value(NFTA_REJECT_ICMP_CODE, code);
  return "reject";
}
const char* put(NetlinkMessage&, const expr::Counter&) { return "counter"; }
const char* put(NetlinkMessage& m, const expr::XtMatch& e) {
  m.text(NFTA_MATCH_NAME, e.name).be32(NFTA_MATCH_REV, e.revision).attribute(NFTA_MATCH_INFO, e.info);
  return "match";
}

void put_expr(NetlinkMessage& list, const Expr& e) {
  list.nest(nested(NFTA_LIST_ELEM), [&](NetlinkMessage& element) {
    // The name is known when the data is written, and stands before it.
    NetlinkMessage data(0, 0);
    const char* name = std::visit([&](const auto& x) { return put(data, x); }, e);
    element.text(NFTA_EXPR_NAME, name);
    element.attribute(nested(NFTA_EXPR_DATA), std::string_view(data.finished()).substr(NLMSG_HDRLEN));
  });
}

// Tells nft that a lone mark is in host order; it takes anything else for network order.
std::string byteorder_udata(const Set& set) {
  constexpr std::uint32_t kHostEndian = 1;  // nftables include/datatype.h
  std::string out;
  auto put_order = [&](char type, const std::vector<DataType>& fields) {
    if (fields != std::vector<DataType>{DataType::Mark}) return;
    out.append({type, sizeof kHostEndian}).append(reinterpret_cast<const char*>(&kHostEndian), sizeof kHostEndian);
  };
  put_order(kUdataKeyByteOrder, set.key);
  put_order(kUdataDataByteOrder, set.data);
  return out;
}

}  // namespace

std::uint8_t nfproto(const TableId& table) {
  switch (table.layer) {
    case TableId::Layer::Inet: return NFPROTO_INET;
    case TableId::Layer::Bridge: return NFPROTO_BRIDGE;
    case TableId::Layer::Ip: break;
  }
  return static_cast<std::uint8_t>(family_number(table.family));
}

NetlinkMessage table_message(std::uint16_t type, std::uint16_t flags, const TableId& table) {
  NetlinkMessage message(static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type), flags);
  return std::move(message.header(nfgenmsg{.nfgen_family = nfproto(table), .version = NFNETLINK_V0, .res_id = 0}));
}

std::string comment_udata(const std::string& comment) {
  std::string out{kUdataComment, static_cast<char>(comment.size() + 1)};
  return out.append(comment.c_str(), comment.size() + 1);
}

std::string comment_in(std::string_view udata) {
  if (udata.size() < 3 || udata[0] != kUdataComment) return {};
  const auto length = static_cast<std::uint8_t>(udata[1]);
  if (length == 0 || length + 2U > udata.size() || udata[length + 1U] != '\0') return {};
  return std::string(udata.substr(2, length - 1U));
}

NetlinkMessage message_of(const AddTable& c) {
  NetlinkMessage m = table_message(NFT_MSG_NEWTABLE, NLM_F_CREATE, c.table);
  m.text(NFTA_TABLE_NAME, c.table.name).attribute(NFTA_TABLE_USERDATA, comment_udata(c.comment));
  return m;
}

NetlinkMessage message_of(const DeleteTable& c) {
  NetlinkMessage m = table_message(NFT_MSG_DELTABLE, 0, c.table);
  m.text(NFTA_TABLE_NAME, c.table.name);
  return m;
}

NetlinkMessage message_of(const AddChain& c) {
  NetlinkMessage m = table_message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, c.table);
  m.text(NFTA_CHAIN_TABLE, c.table.name).text(NFTA_CHAIN_NAME, c.chain.name);
  if (const auto& base = c.chain.base) {
    m.nest(nested(NFTA_CHAIN_HOOK), [&](NetlinkMessage& hook) {
      hook.be32(NFTA_HOOK_HOOKNUM, static_cast<std::uint32_t>(base->hook));
      hook.be32(NFTA_HOOK_PRIORITY, static_cast<std::uint32_t>(base->priority));
    });
    m.be32(NFTA_CHAIN_POLICY, NF_ACCEPT).text(NFTA_CHAIN_TYPE, base->type == ChainType::Nat ? "nat" : "filter");
  }
  return m;
}

NetlinkMessage message_of(const AddRule& c) {
  const int place = c.first ? 0 : NLM_F_APPEND;
  NetlinkMessage m = table_message(NFT_MSG_NEWRULE, static_cast<std::uint16_t>(NLM_F_CREATE | place), c.table);
  m.text(NFTA_RULE_TABLE, c.table.name).text(NFTA_RULE_CHAIN, c.rule.chain);
  m.nest(nested(NFTA_RULE_EXPRESSIONS), [&](NetlinkMessage& list) {
    for (const Expr& e : c.rule.exprs) put_expr(list, e);
  });
  m.attribute(NFTA_RULE_USERDATA, comment_udata(c.rule.comment));
  return m;
}

NetlinkMessage message_of(const FlushChain& c) {
  NetlinkMessage m = table_message(NFT_MSG_DELRULE, 0, c.table);
  m.text(NFTA_RULE_TABLE, c.table.name).text(NFTA_RULE_CHAIN, c.chain);
  return m;
}

NetlinkMessage message_of(const AddSet& c, std::uint32_t id) {
  const Set& set = c.set;
  const std::uint32_t map = set.kind != Set::Kind::Set ? NFT_SET_MAP : 0;
  const std::uint32_t dynamic = set.dynamic_size > 0 ? NFT_SET_EVAL | NFT_SET_TIMEOUT : 0;
  NetlinkMessage m = table_message(NFT_MSG_NEWSET, NLM_F_CREATE, c.table);
  m.text(NFTA_SET_TABLE, c.table.name).text(NFTA_SET_NAME, set.name).be32(NFTA_SET_FLAGS, map | dynamic);
  m.be32(NFTA_SET_KEY_TYPE, concatenated(set.key)).be32(NFTA_SET_KEY_LEN, size_of(set.key));
  if (set.kind == Set::Kind::VerdictMap) m.be32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
  if (set.kind == Set::Kind::Map) {
    m.be32(NFTA_SET_DATA_TYPE, concatenated(set.data)).be32(NFTA_SET_DATA_LEN, size_of(set.data));
  }
  m.be32(NFTA_SET_ID, id);
  if (set.dynamic_size > 0) {
    m.nest(nested(NFTA_SET_DESC), [&](NetlinkMessage& desc) { desc.be32(NFTA_SET_DESC_SIZE, set.dynamic_size); });
  }
  const std::string udata = byteorder_udata(set);
  if (!udata.empty()) m.attribute(NFTA_SET_USERDATA, udata);
  return m;
}

}  // namespace fairlead::net::nft
