#include "net/nft/encode.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <type_traits>

namespace fairlead::net::nft {
namespace {

// A nested attribute's length is 16 bits; a list of elements ends well before.
constexpr std::size_t kMaxList = 60000;
constexpr std::size_t kRoom = 1U << 17;  // any one message fits
constexpr std::size_t kPerElement = 96;  // no element of a set or map takes more, its share of the list's head included

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* p) const {
    Free(p);
  }
};
template <typename T, auto Free>
using Owned = std::unique_ptr<T, Deleter<Free>>;

// NFT_REG32_00 + n: n counts from the first register.
std::uint32_t reg(std::uint32_t n) { return NFT_REG32_00 + n; }

nftnl_expr* make(const char* name) { return nftnl_expr_alloc(name); }

nftnl_expr* build(const expr::LoadPayload& e) {
  nftnl_expr* x = make("payload");
  nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_BASE,
                     e.base == expr::Base::Network ? NFT_PAYLOAD_NETWORK_HEADER : NFT_PAYLOAD_TRANSPORT_HEADER);
  nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_OFFSET, e.offset);
  nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_LEN, e.size);
  nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_DREG, reg(e.to));
  return x;
}
nftnl_expr* build(const expr::LoadMeta& e) {
  nftnl_expr* x = make("meta");
  nftnl_expr_set_u32(x, NFTNL_EXPR_META_KEY, static_cast<std::uint32_t>(e.key));
  nftnl_expr_set_u32(x, NFTNL_EXPR_META_DREG, reg(e.to));
  return x;
}
nftnl_expr* build(const expr::SetMeta& e) {
  nftnl_expr* x = make("meta");
  nftnl_expr_set_u32(x, NFTNL_EXPR_META_KEY, static_cast<std::uint32_t>(e.key));
  nftnl_expr_set_u32(x, NFTNL_EXPR_META_SREG, reg(e.from));
  return x;
}
nftnl_expr* build(const expr::LoadCt& e) {
  nftnl_expr* x = make("ct");
  nftnl_expr_set_u32(x, NFTNL_EXPR_CT_KEY, static_cast<std::uint32_t>(e.key));
  nftnl_expr_set_u32(x, NFTNL_EXPR_CT_DREG, reg(e.to));
  return x;
}
nftnl_expr* build(const expr::LoadValue& e) {
  nftnl_expr* x = make("immediate");
  nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_DREG, reg(e.to));
  nftnl_expr_set(x, NFTNL_EXPR_IMM_DATA, e.bytes.data(), static_cast<std::uint32_t>(e.bytes.size()));
  return x;
}
nftnl_expr* build(const expr::LoadAddressType& e) {
  nftnl_expr* x = make("fib");
  nftnl_expr_set_u32(x, NFTNL_EXPR_FIB_DREG, reg(e.to));
  nftnl_expr_set_u32(x, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
  nftnl_expr_set_u32(x, NFTNL_EXPR_FIB_FLAGS, e.of_source ? NFTA_FIB_F_SADDR : NFTA_FIB_F_DADDR);
  return x;
}
nftnl_expr* build(const expr::Random& e) {
  nftnl_expr* x = make("numgen");
  nftnl_expr_set_u32(x, NFTNL_EXPR_NG_DREG, reg(e.to));
  nftnl_expr_set_u32(x, NFTNL_EXPR_NG_MODULUS, e.modulus);
  nftnl_expr_set_u32(x, NFTNL_EXPR_NG_TYPE, NFT_NG_RANDOM);
  nftnl_expr_set_u32(x, NFTNL_EXPR_NG_OFFSET, e.offset);
  return x;
}
nftnl_expr* build(const expr::Mask& e) {
  const auto size = static_cast<std::uint32_t>(e.mask.size());
  nftnl_expr* x = make("bitwise");
  nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_SREG, reg(e.reg));
  nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_DREG, reg(e.reg));
  nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_OP, NFT_BITWISE_BOOL);
  nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_LEN, size);
  nftnl_expr_set(x, NFTNL_EXPR_BITWISE_MASK, e.mask.data(), size);
  nftnl_expr_set(x, NFTNL_EXPR_BITWISE_XOR, e.exclusive_or.data(), size);
  return x;
}
nftnl_expr* build(const expr::Compare& e) {
  nftnl_expr* x = make("cmp");
  nftnl_expr_set_u32(x, NFTNL_EXPR_CMP_SREG, reg(e.reg));
  nftnl_expr_set_u32(x, NFTNL_EXPR_CMP_OP, e.equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
  nftnl_expr_set(x, NFTNL_EXPR_CMP_DATA, e.bytes.data(), static_cast<std::uint32_t>(e.bytes.size()));
  return x;
}
nftnl_expr* build(const expr::Lookup& e) {
  nftnl_expr* x = make("lookup");
  nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_SREG, reg(e.key));
  if (e.verdict) nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
  if (e.to) nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_DREG, reg(*e.to));
  nftnl_expr_set_str(x, NFTNL_EXPR_LOOKUP_SET, e.set.c_str());
  return x;
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
nftnl_expr* build(const expr::Verdict& e) {
  nftnl_expr* x = make("immediate");
  nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
  nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_VERDICT, static_cast<std::uint32_t>(code_of(e.then)));
  if (!e.chain.empty()) nftnl_expr_set_str(x, NFTNL_EXPR_IMM_CHAIN, e.chain.c_str());
  return x;
}
nftnl_expr* build(const expr::Remember& e) {
  const bool update = e.what == expr::Remember::What::Update;
  nftnl_expr* x = make("dynset");
  nftnl_expr_set_str(x, NFTNL_EXPR_DYNSET_SET_NAME, e.set.c_str());
  nftnl_expr_set_u32(x, NFTNL_EXPR_DYNSET_OP, update ? NFT_DYNSET_OP_UPDATE : NFT_DYNSET_OP_DELETE);
  nftnl_expr_set_u32(x, NFTNL_EXPR_DYNSET_SREG_KEY, reg(e.key));
  nftnl_expr_set_u32(x, NFTNL_EXPR_DYNSET_SREG_DATA, reg(e.data));
  if (update) nftnl_expr_set_u64(x, NFTNL_EXPR_DYNSET_TIMEOUT, std::uint64_t{e.seconds} * 1000);
  return x;
}
nftnl_expr* build(const expr::Dnat& e) {
  nftnl_expr* x = make("nat");
  nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
  nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_FAMILY, nfproto(e.family));
  nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_ADDR_MIN, reg(e.address));
  nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_PROTO_MIN, reg(e.port));
  return x;
}
nftnl_expr* build(const expr::Masquerade&) {
  nftnl_expr* x = make("masq");
  nftnl_expr_set_u32(x, NFTNL_EXPR_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
  return x;
}
nftnl_expr* build(const expr::TcpReset&) {
  nftnl_expr* x = make("reject");
  nftnl_expr_set_u32(x, NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_TCP_RST);
  nftnl_expr_set_u8(x, NFTNL_EXPR_REJECT_CODE, 0);
  return x;
}
nftnl_expr* build(const expr::PortUnreachable& e) {
  // ICMP_PORT_UNREACH 3 (RFC 792), ICMPV6_PORT_UNREACH 4 (RFC 4443)
  nftnl_expr* x = make("reject");
  nftnl_expr_set_u32(x, NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_ICMP_UNREACH);
  nftnl_expr_set_u8(x, NFTNL_EXPR_REJECT_CODE, e.family == Family::V4 ? 3 : 4);
  return x;
}

// nft's comment: type 0 of its type-length-value user data, with the terminating zero.
std::string comment_udata(const std::string& comment) {
  std::string out{static_cast<char>(NFTNL_UDATA_RULE_COMMENT), static_cast<char>(comment.size() + 1)};
  return out.append(comment.c_str(), comment.size() + 1);
}

// Tells nft that a lone mark is in host order; it takes anything else for network order.
std::string byteorder_udata(const Set& set) {
  constexpr std::uint32_t kHostEndian = 1;  // nftables include/datatype.h
  std::string out;
  auto put = [&](char type, const std::vector<DataType>& fields) {
    if (fields != std::vector<DataType>{DataType::Mark}) return;
    out.append({type, sizeof kHostEndian}).append(reinterpret_cast<const char*>(&kHostEndian), sizeof kHostEndian);
  };
  put(NFTNL_UDATA_SET_KEYBYTEORDER, set.key);
  put(NFTNL_UDATA_SET_DATABYTEORDER, set.data);
  return out;
}

// `size` is of whole registers. By hand, because there are so many: libmnl takes a call for each of three steps.
void put_value(nlmsghdr* header, std::uint16_t type, const void* bytes, std::size_t size) {
  char* at = reinterpret_cast<char*>(header) + header->nlmsg_len;
  nlattr heads[2]{};
  heads[0].nla_len = static_cast<std::uint16_t>(sizeof heads + size);
  heads[0].nla_type = static_cast<std::uint16_t>(type | NLA_F_NESTED);
  heads[1].nla_len = static_cast<std::uint16_t>(sizeof(nlattr) + size);
  heads[1].nla_type = NFTA_DATA_VALUE;
  std::memcpy(at, heads, sizeof heads);
  std::memcpy(at + sizeof heads, bytes, size);
  header->nlmsg_len += static_cast<std::uint32_t>(sizeof heads + size);
}

class Encoder {
 public:
  Encoder(std::uint32_t first_sequence, std::size_t room, EncodedBatch& out) : out_(out), sequence_(first_sequence) {
    grow(room);
  }

  void boundary(std::uint16_t type, std::uint32_t sequence) {
    char* at = reserve();
    nlmsghdr* header = mnl_nlmsg_put_header(at);
    header->nlmsg_type = type;
    header->nlmsg_flags = NLM_F_REQUEST;
    header->nlmsg_seq = sequence;
    auto* gen = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(nfgenmsg)));
    gen->nfgen_family = AF_UNSPEC;
    gen->version = NFNETLINK_V0;
    gen->res_id = htons(NFNL_SUBSYS_NFTABLES);
    close(header);
  }

  void add(std::size_t index, const AddTable& c) {
    Owned<nftnl_table, nftnl_table_free> t(nftnl_table_alloc());
    nftnl_table_set_str(t.get(), NFTNL_TABLE_NAME, c.table.name.c_str());
    const std::string udata = comment_udata(c.comment);
    nftnl_table_set_data(t.get(), NFTNL_TABLE_USERDATA, udata.data(), static_cast<std::uint32_t>(udata.size()));
    nlmsghdr* header = open(index, NFT_MSG_NEWTABLE, c.table, NLM_F_CREATE);
    nftnl_table_nlmsg_build_payload(header, t.get());
    close(header);
  }
  void add(std::size_t index, const DeleteTable& c) {
    nlmsghdr* header = open(index, NFT_MSG_DELTABLE, c.table, 0);
    mnl_attr_put_strz(header, NFTA_TABLE_NAME, c.table.name.c_str());
    close(header);
  }
  void add(std::size_t index, const AddChain& c) {
    Owned<nftnl_chain, nftnl_chain_free> chain(nftnl_chain_alloc());
    nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_TABLE, c.table.name.c_str());
    nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_NAME, c.chain.name.c_str());
    if (const auto& base = c.chain.base) {
      nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_TYPE, base->type == ChainType::Nat ? "nat" : "filter");
      nftnl_chain_set_u32(chain.get(), NFTNL_CHAIN_HOOKNUM, static_cast<std::uint32_t>(base->hook));
      nftnl_chain_set_s32(chain.get(), NFTNL_CHAIN_PRIO, base->priority);
      nftnl_chain_set_u32(chain.get(), NFTNL_CHAIN_POLICY, NF_ACCEPT);
    }
    nlmsghdr* header = open(index, NFT_MSG_NEWCHAIN, c.table, NLM_F_CREATE);
    nftnl_chain_nlmsg_build_payload(header, chain.get());
    close(header);
  }
  void add(std::size_t index, const AddRule& c) {
    Owned<nftnl_rule, nftnl_rule_free> rule(nftnl_rule_alloc());
    nftnl_rule_set_str(rule.get(), NFTNL_RULE_TABLE, c.table.name.c_str());
    nftnl_rule_set_str(rule.get(), NFTNL_RULE_CHAIN, c.rule.chain.c_str());
    const std::string udata = comment_udata(c.rule.comment);
    nftnl_rule_set_data(rule.get(), NFTNL_RULE_USERDATA, udata.data(), static_cast<std::uint32_t>(udata.size()));
    for (const Expr& e : c.rule.exprs) {
      nftnl_rule_add_expr(rule.get(), std::visit([](const auto& x) { return build(x); }, e));
    }
    const std::uint16_t place = c.first ? 0 : NLM_F_APPEND;
    nlmsghdr* header = open(index, NFT_MSG_NEWRULE, c.table, static_cast<std::uint16_t>(NLM_F_CREATE | place));
    nftnl_rule_nlmsg_build_payload(header, rule.get());
    close(header);
  }
  void add(std::size_t index, const FlushChain& c) {
    nlmsghdr* header = open(index, NFT_MSG_DELRULE, c.table, 0);
    mnl_attr_put_strz(header, NFTA_RULE_TABLE, c.table.name.c_str());
    mnl_attr_put_strz(header, NFTA_RULE_CHAIN, c.chain.c_str());
    close(header);
  }
  void add(std::size_t index, const AddSet& c) {
    Owned<nftnl_set, nftnl_set_free> set(nftnl_set_alloc());
    nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, c.table.name.c_str());
    nftnl_set_set_str(set.get(), NFTNL_SET_NAME, c.set.name.c_str());
    nftnl_set_set_u32(set.get(), NFTNL_SET_ID, static_cast<std::uint32_t>(index) + 1);
    nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_TYPE, concatenated(c.set.key));
    nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_LEN, size_of(c.set.key));
    const std::uint32_t map = c.set.kind != Set::Kind::Set ? NFT_SET_MAP : 0;
    const std::uint32_t dynamic = c.set.dynamic_size > 0 ? NFT_SET_EVAL | NFT_SET_TIMEOUT : 0;
    nftnl_set_set_u32(set.get(), NFTNL_SET_FLAGS, map | dynamic);
    if (c.set.dynamic_size > 0) nftnl_set_set_u32(set.get(), NFTNL_SET_DESC_SIZE, c.set.dynamic_size);
    if (c.set.kind == Set::Kind::VerdictMap) nftnl_set_set_u32(set.get(), NFTNL_SET_DATA_TYPE, NFT_DATA_VERDICT);
    if (c.set.kind == Set::Kind::Map) {
      nftnl_set_set_u32(set.get(), NFTNL_SET_DATA_TYPE, concatenated(c.set.data));
      nftnl_set_set_u32(set.get(), NFTNL_SET_DATA_LEN, size_of(c.set.data));
    }
    const std::string udata = byteorder_udata(c.set);
    if (!udata.empty()) {
      nftnl_set_set_data(set.get(), NFTNL_SET_USERDATA, udata.data(), static_cast<std::uint32_t>(udata.size()));
    }
    nlmsghdr* header = open(index, NFT_MSG_NEWSET, c.table, NLM_F_CREATE);
    nftnl_set_nlmsg_build_payload(header, set.get());
    close(header);
  }
  void add(std::size_t index, const AddElements& c) { elements(index, NFT_MSG_NEWSETELEM, NLM_F_CREATE, c); }
  void add(std::size_t index, const AddVerdicts& c) { elements(index, NFT_MSG_NEWSETELEM, NLM_F_CREATE, c); }
  void add(std::size_t index, const DeleteElements& c) { elements(index, NFT_MSG_DELSETELEM, 0, c); }

  void acknowledge_last() {
    if (!out_.messages.empty()) reinterpret_cast<nlmsghdr*>(&out_.bytes[last_])->nlmsg_flags |= NLM_F_ACK;
  }

 private:
  char* reserve() {
    if (room_ < out_.size + kRoom) grow(room_ * 2);
    return reinterpret_cast<char*>(out_.bytes.get() + out_.size);
  }
  void grow(std::size_t room) {
    auto larger = std::make_unique_for_overwrite<std::uint8_t[]>(room);
    std::copy_n(out_.bytes.get(), out_.size, larger.get());
    out_.bytes = std::move(larger);
    room_ = room;
  }
  nlmsghdr* open(std::size_t command, std::uint16_t type, const TableId& table, std::uint16_t flags) {
    out_.messages.push_back({.command = command});
    last_ = out_.size;
    return nftnl_nlmsg_build_hdr(reserve(), type, nfproto(table.family), flags, sequence_++);
  }
  void close(const nlmsghdr* header) { out_.size += MNL_ALIGN(header->nlmsg_len); }

  static void put(nlmsghdr* header, const Element& e) {
    put_value(header, NFTA_SET_ELEM_KEY, e.key.data(), e.key_size);
    if (e.data_size > 0) put_value(header, NFTA_SET_ELEM_DATA, e.data.data(), e.data_size);
  }
  static void put(nlmsghdr* header, const VerdictElement& e) {
    put_value(header, NFTA_SET_ELEM_KEY, &e.key, sizeof e.key);
    nlattr* data = mnl_attr_nest_start(header, NFTA_SET_ELEM_DATA);
    nlattr* verdict = mnl_attr_nest_start(header, NFTA_DATA_VERDICT);
    const int code = e.go_to.empty() ? NF_DROP : e.returns ? NFT_JUMP : NFT_GOTO;
    mnl_attr_put_u32(header, NFTA_VERDICT_CODE, htonl(static_cast<std::uint32_t>(code)));
    if (!e.go_to.empty()) mnl_attr_put_strz(header, NFTA_VERDICT_CHAIN, e.go_to.c_str());
    mnl_attr_nest_end(header, verdict);
    mnl_attr_nest_end(header, data);
  }

  template <typename C>
  void elements(std::size_t index, std::uint16_t type, std::uint16_t flags, const C& c) {
    std::size_t next = 0;
    while (next < c.elements.size()) {
      nlmsghdr* header = open(index, type, c.table, flags);
      mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_TABLE, c.table.name.c_str());
      mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_SET, c.set.c_str());
      nlattr* list = mnl_attr_nest_start(header, NFTA_SET_ELEM_LIST_ELEMENTS);
      SentMessage& sent = out_.messages.back();
      sent.first_element = next;
      // Verdicts are of different lengths, so an offset does not tell which one it is.
      if constexpr (!std::is_same_v<C, AddVerdicts>) sent.elements_at = header->nlmsg_len;
      const std::uint32_t start = header->nlmsg_len;
      while (next < c.elements.size() && header->nlmsg_len - start < kMaxList) {
        const std::uint32_t before = header->nlmsg_len;
        nlattr* nest = mnl_attr_nest_start(header, NFTA_LIST_ELEM);
        put(header, c.elements[next++]);
        mnl_attr_nest_end(header, nest);
        sent.stride = std::max(sent.stride, header->nlmsg_len - before);
      }
      mnl_attr_nest_end(header, list);
      close(header);
    }
  }

  EncodedBatch& out_;
  std::uint32_t sequence_;
  std::size_t room_ = 0;
  std::size_t last_ = 0;  // offset of the last message
};

}  // namespace

std::vector<std::uint8_t> encode_question(const TableId& table, const std::string& set, const Element* keys,
                                          std::size_t count, std::uint32_t sequence) {
  std::vector<std::uint8_t> bytes(kRoom);
  nlmsghdr* header = nftnl_nlmsg_build_hdr(reinterpret_cast<char*>(bytes.data()), NFT_MSG_GETSETELEM,
                                           nfproto(table.family), NLM_F_ACK, sequence);
  mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_TABLE, table.name.c_str());
  mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_SET, set.c_str());
  nlattr* list = mnl_attr_nest_start(header, NFTA_SET_ELEM_LIST_ELEMENTS);
  for (std::size_t i = 0; i < count; ++i) {
    nlattr* nest = mnl_attr_nest_start(header, NFTA_LIST_ELEM);
    put_value(header, NFTA_SET_ELEM_KEY, keys[i].key.data(), keys[i].key_size);
    mnl_attr_nest_end(header, nest);
  }
  mnl_attr_nest_end(header, list);
  bytes.resize(header->nlmsg_len);
  return bytes;
}

std::uint8_t nfproto(Family family) { return family == Family::V4 ? NFPROTO_IPV4 : NFPROTO_IPV6; }

std::optional<std::size_t> EncodedBatch::element_at(std::size_t index, std::uint32_t at) const {
  const SentMessage& message = messages[index];
  if (message.elements_at == 0 || at < message.elements_at) return std::nullopt;
  return message.first_element + (at - message.elements_at) / message.stride;
}

EncodedBatch encode(const Batch& batch, std::uint32_t first_sequence, bool commit) {
  EncodedBatch out;
  Encoder encoder(first_sequence, 2 * kRoom + count_writes(batch) * kPerElement, out);
  encoder.boundary(NFNL_MSG_BATCH_BEGIN, first_sequence - 1);
  for (std::size_t i = 0; i < batch.size(); ++i) {
    std::visit([&](const auto& command) { encoder.add(i, command); }, batch[i]);
  }
  encoder.acknowledge_last();
  if (commit) {
    encoder.boundary(NFNL_MSG_BATCH_END, first_sequence + static_cast<std::uint32_t>(out.messages.size()));
  }
  return out;
}

}  // namespace fairlead::net::nft
