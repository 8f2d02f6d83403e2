#include "net/nft/decode.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <cstring>
#include <memory>

#include "net/nft/objects.h"

namespace fairlead::net::nft {
namespace {

std::string_view view(const void* bytes, std::uint32_t size) {
  return bytes == nullptr ? std::string_view() : std::string_view(static_cast<const char*>(bytes), size);
}

// 6 bits per field, the first field highest (nftables include/datatype.h TYPE_BITS).
std::vector<DataType> fields_of(std::uint32_t concatenation) {
  std::vector<DataType> fields;
  for (std::uint32_t rest = concatenation; rest != 0; rest >>= 6) {
    fields.insert(fields.begin(), static_cast<DataType>(rest & 0x3f));
  }
  return fields;
}

struct Attributes {
  const nlattr* at[16] = {};
};

int collect(const nlattr* attr, void* data) {
  auto* attributes = static_cast<Attributes*>(data);
  const std::uint16_t type = mnl_attr_get_type(attr);
  if (type < 16) attributes->at[type] = attr;
  return MNL_CB_OK;
}

Attributes inside(const nlattr* nest) {
  Attributes attributes;
  mnl_attr_parse_nested(nest, collect, &attributes);
  return attributes;
}

Attributes of_message(const nlmsghdr* message) {
  Attributes attributes;
  mnl_attr_parse(message, sizeof(nfgenmsg), collect, &attributes);
  return attributes;
}

// Copies NFTA_DATA_VALUE of `nest`; false when it does not fit.
template <std::size_t N>
bool copy_value(const nlattr* nest, std::array<std::uint8_t, N>& to, std::uint8_t& size) {
  const nlattr* value = inside(nest).at[NFTA_DATA_VALUE];
  if (value == nullptr || mnl_attr_get_payload_len(value) > N) return false;
  size = static_cast<std::uint8_t>(mnl_attr_get_payload_len(value));
  std::memcpy(to.data(), mnl_attr_get_payload(value), size);
  return true;
}

template <typename Each>
void for_each_element(const nlmsghdr* message, const Each& each) {
  const nlattr* list = of_message(message).at[NFTA_SET_ELEM_LIST_ELEMENTS];
  if (list == nullptr) return;
  auto visit = [](const nlattr* attr, void* data) {
    if (mnl_attr_get_type(attr) == NFTA_LIST_ELEM) (*static_cast<const Each*>(data))(inside(attr));
    return MNL_CB_OK;
  };
  mnl_attr_parse_nested(list, visit, const_cast<Each*>(&each));
}

}  // namespace

void decode_table(const nlmsghdr* message, TableDump& into) {
  std::unique_ptr<nftnl_table, void (*)(const nftnl_table*)> t(nftnl_table_alloc(), nftnl_table_free);
  if (nftnl_table_nlmsg_parse(message, t.get()) < 0) return;
  std::uint32_t size = 0;
  const void* udata = nftnl_table_get_data(t.get(), NFTNL_TABLE_USERDATA, &size);
  into.comment = comment_in(view(udata, size));
}

void decode_chain(const nlmsghdr* message, const TableId& table, TableDump& into) {
  std::unique_ptr<nftnl_chain, void (*)(const nftnl_chain*)> c(nftnl_chain_alloc(), nftnl_chain_free);
  if (nftnl_chain_nlmsg_parse(message, c.get()) < 0) return;
  if (table.name != nftnl_chain_get_str(c.get(), NFTNL_CHAIN_TABLE)) return;
  Chain chain{.name = nftnl_chain_get_str(c.get(), NFTNL_CHAIN_NAME), .base = {}};
  if (nftnl_chain_is_set(c.get(), NFTNL_CHAIN_HOOKNUM)) {
    const char* type = nftnl_chain_get_str(c.get(), NFTNL_CHAIN_TYPE);
    chain.base =
        BaseChain{.type = type != nullptr && std::strcmp(type, "nat") == 0 ? ChainType::Nat : ChainType::Filter,
                  .hook = static_cast<Hook>(nftnl_chain_get_u32(c.get(), NFTNL_CHAIN_HOOKNUM)),
                  .priority = nftnl_chain_get_s32(c.get(), NFTNL_CHAIN_PRIO)};
  }
  into.chains.push_back(std::move(chain));
}

void decode_rule(const nlmsghdr* message, const TableId& table, TableDump& into) {
  std::unique_ptr<nftnl_rule, void (*)(const nftnl_rule*)> r(nftnl_rule_alloc(), nftnl_rule_free);
  if (nftnl_rule_nlmsg_parse(message, r.get()) < 0) return;
  if (table.name != nftnl_rule_get_str(r.get(), NFTNL_RULE_TABLE)) return;
  std::uint32_t size = 0;
  const void* udata = nftnl_rule_get_data(r.get(), NFTNL_RULE_USERDATA, &size);
  into.rules.push_back(
      {.chain = nftnl_rule_get_str(r.get(), NFTNL_RULE_CHAIN), .comment = comment_in(view(udata, size))});
}

void decode_set(const nlmsghdr* message, const TableId& table, TableDump& into) {
  std::unique_ptr<nftnl_set, void (*)(const nftnl_set*)> s(nftnl_set_alloc(), nftnl_set_free);
  if (nftnl_set_nlmsg_parse(message, s.get()) < 0) return;
  if (table.name != nftnl_set_get_str(s.get(), NFTNL_SET_TABLE)) return;
  Set set;
  set.name = nftnl_set_get_str(s.get(), NFTNL_SET_NAME);
  set.key = fields_of(nftnl_set_get_u32(s.get(), NFTNL_SET_KEY_TYPE));
  const std::uint32_t flags = nftnl_set_get_u32(s.get(), NFTNL_SET_FLAGS);
  const bool map = (flags & NFT_SET_MAP) != 0;
  if ((flags & NFT_SET_EVAL) != 0) set.dynamic_size = nftnl_set_get_u32(s.get(), NFTNL_SET_DESC_SIZE);
  const std::uint32_t data = map ? nftnl_set_get_u32(s.get(), NFTNL_SET_DATA_TYPE) : 0;
  set.kind = !map ? Set::Kind::Set : data == NFT_DATA_VERDICT ? Set::Kind::VerdictMap : Set::Kind::Map;
  if (set.kind == Set::Kind::Map) set.data = fields_of(data);
  into.sets.push_back(std::move(set));
}

void decode_elements(const nlmsghdr* message, const std::function<void(const Element&)>& each) {
  for_each_element(message, [&](const Attributes& attributes) {
    Element element;
    const nlattr* key = attributes.at[NFTA_SET_ELEM_KEY];
    const nlattr* data = attributes.at[NFTA_SET_ELEM_DATA];
    if (key == nullptr || !copy_value(key, element.key, element.key_size)) return;
    if (data != nullptr && !copy_value(data, element.data, element.data_size)) return;
    each(element);
  });
}

void decode_verdicts(const nlmsghdr* message, const std::function<void(const VerdictElement&)>& each) {
  for_each_element(message, [&](const Attributes& attributes) {
    std::array<std::uint8_t, 4> key{};
    std::uint8_t size = 0;
    const nlattr* at = attributes.at[NFTA_SET_ELEM_KEY];
    const nlattr* data = attributes.at[NFTA_SET_ELEM_DATA];
    if (at == nullptr || data == nullptr || !copy_value(at, key, size)) return;
    const nlattr* verdict = inside(data).at[NFTA_DATA_VERDICT];
    if (verdict == nullptr) return;
    VerdictElement element;
    std::memcpy(&element.key, key.data(), sizeof element.key);
    const Attributes parts = inside(verdict);
    if (const nlattr* chain = parts.at[NFTA_VERDICT_CHAIN]) element.go_to = mnl_attr_get_str(chain);
    const nlattr* code = parts.at[NFTA_VERDICT_CODE];
    element.returns = code != nullptr && static_cast<int>(ntohl(mnl_attr_get_u32(code))) == NFT_JUMP;
    each(element);
  });
}

std::optional<TableId> table_of_notification(const nlmsghdr* message) {
  if (NFNL_SUBSYS_ID(message->nlmsg_type) != NFNL_SUBSYS_NFTABLES) return std::nullopt;
  if (NFNL_MSG_TYPE(message->nlmsg_type) == NFT_MSG_NEWGEN) return std::nullopt;
  // Attribute 1 of every other message is the table's name (linux v6.1 include/uapi/linux/netfilter/nf_tables.h).
  const nlattr* name = of_message(message).at[NFTA_TABLE_NAME];
  if (name == nullptr) return std::nullopt;
  const auto* gen = static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(message));
  if (gen->nfgen_family != NFPROTO_IPV4 && gen->nfgen_family != NFPROTO_IPV6) return std::nullopt;
  return TableId{gen->nfgen_family == NFPROTO_IPV4 ? Family::V4 : Family::V6, mnl_attr_get_str(name)};
}

}  // namespace fairlead::net::nft
