#include "net/conntrack/message.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <array>
#include <cstring>

namespace fairlead::net::conntrack {
namespace {

// The bit of CTA_FILTER_ORIG_FLAGS for the protocol's number; not in the uapi headers (linux v6.1
// net/netfilter/nf_internals.h).
constexpr std::uint32_t kFilterProtocol = 1U << 3;

std::uint8_t nfproto(Family family) { return family == Family::V4 ? AF_INET : AF_INET6; }

// One message in a buffer of its own, which fits any of ours.
class Request {
 public:
  Request(std::uint16_t type, std::uint16_t flags, Family family, std::uint32_t sequence)
      : header_(mnl_nlmsg_put_header(buffer_.data())) {
    header_->nlmsg_type = static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type);
    header_->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    header_->nlmsg_seq = sequence;
    auto* nf = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(header_, sizeof(nfgenmsg)));
    nf->nfgen_family = nfproto(family);
    nf->version = NFNETLINK_V0;
  }
  nlmsghdr* operator*() { return header_; }
  void append_to(std::vector<std::uint8_t>& out) const {
    out.insert(out.end(), buffer_.data(), buffer_.data() + header_->nlmsg_len);
  }

 private:
  alignas(nlmsghdr) std::array<std::uint8_t, kMaxMessage> buffer_{};
  nlmsghdr* header_;
};

void put_ip(nlmsghdr* header, std::uint16_t v4_type, std::uint16_t v6_type, const Ip& ip) {
  if (ip.is_v4()) {
    mnl_attr_put_u32(header, v4_type, ip.v4_be());
  } else {
    mnl_attr_put(header, v6_type, ip.bytes().size(), ip.bytes().data());
  }
}

void put_tuple(nlmsghdr* header, std::uint16_t type, const Tuple& tuple, std::uint8_t protocol) {
  nlattr* whole = mnl_attr_nest_start(header, type);
  nlattr* addresses = mnl_attr_nest_start(header, CTA_TUPLE_IP);
  put_ip(header, CTA_IP_V4_SRC, CTA_IP_V6_SRC, tuple.source);
  put_ip(header, CTA_IP_V4_DST, CTA_IP_V6_DST, tuple.destination);
  mnl_attr_nest_end(header, addresses);
  nlattr* ports = mnl_attr_nest_start(header, CTA_TUPLE_PROTO);
  mnl_attr_put_u8(header, CTA_PROTO_NUM, protocol);
  mnl_attr_put_u16(header, CTA_PROTO_SRC_PORT, htons(tuple.source_port));
  mnl_attr_put_u16(header, CTA_PROTO_DST_PORT, htons(tuple.destination_port));
  mnl_attr_nest_end(header, ports);
  if (tuple.zone != 0) mnl_attr_put_u16(header, CTA_TUPLE_ZONE, htons(tuple.zone));
  mnl_attr_nest_end(header, whole);
}

void put_zone(nlmsghdr* header, const Entry& entry) {
  if (entry.zone != 0) mnl_attr_put_u16(header, CTA_ZONE, htons(entry.zone));
}

// What a nest of protocol details holds, if it is one that we look into.
struct StateAt {
  std::uint16_t nest;
  std::uint16_t state;
};
std::optional<StateAt> state_at(std::uint8_t protocol) {
  if (protocol == kTcp) return StateAt{CTA_PROTOINFO_TCP, CTA_PROTOINFO_TCP_STATE};
  if (protocol == kSctp) return StateAt{CTA_PROTOINFO_SCTP, CTA_PROTOINFO_SCTP_STATE};
  return std::nullopt;
}

// libmnl's loops are macros that C++ does not take.
template <typename Each>
void for_each(const void* begin, std::size_t size, Each each) {
  auto left = static_cast<int>(size);
  for (const auto* attr = static_cast<const nlattr*>(begin); mnl_attr_ok(attr, left); attr = mnl_attr_next(attr)) {
    each(attr);
    left -= MNL_ALIGN(attr->nla_len);
  }
}
template <typename Each>
void for_each_in(const nlattr* nest, Each each) {
  for_each(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), each);
}

// nullptr without one.
const nlattr* find(const nlattr* nest, std::uint16_t type) {
  const nlattr* found = nullptr;
  for_each_in(nest, [&](const nlattr* attr) {
    if (mnl_attr_get_type(attr) == type) found = attr;
  });
  return found;
}

std::uint16_t port_in(const nlattr* nest, std::uint16_t type) {
  const nlattr* attr = find(nest, type);
  return attr == nullptr || mnl_attr_validate(attr, MNL_TYPE_U16) < 0 ? std::uint16_t{0}
                                                                      : ntohs(mnl_attr_get_u16(attr));
}

std::optional<Ip> ip_of(const nlattr* attr) {
  const std::size_t size = mnl_attr_get_payload_len(attr);
  if (size == 4) return Ip::from_v4_be(mnl_attr_get_u32(attr));
  if (size != 16) return std::nullopt;
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), mnl_attr_get_payload(attr), bytes.size());
  return Ip::from_bytes(bytes);
}

bool decode_addresses(const nlattr* nest, Tuple& out) {
  std::optional<Ip> source;
  std::optional<Ip> destination;
  for_each_in(nest, [&](const nlattr* attr) {
    switch (mnl_attr_get_type(attr)) {
      case CTA_IP_V4_SRC:
      case CTA_IP_V6_SRC: source = ip_of(attr); break;
      case CTA_IP_V4_DST:
      case CTA_IP_V6_DST: destination = ip_of(attr); break;
      default: break;
    }
  });
  if (!source || !destination) return false;
  out.source = *source;
  out.destination = *destination;
  return true;
}

bool decode_tuple(const nlattr* nest, Tuple& out, std::uint8_t& protocol) {
  const nlattr* addresses = find(nest, CTA_TUPLE_IP);
  const nlattr* ports = find(nest, CTA_TUPLE_PROTO);
  if (addresses == nullptr || ports == nullptr || !decode_addresses(addresses, out)) return false;
  const nlattr* number = find(ports, CTA_PROTO_NUM);
  if (number == nullptr || mnl_attr_validate(number, MNL_TYPE_U8) < 0) return false;
  protocol = mnl_attr_get_u8(number);
  out.source_port = port_in(ports, CTA_PROTO_SRC_PORT);
  out.destination_port = port_in(ports, CTA_PROTO_DST_PORT);
  out.zone = port_in(nest, CTA_TUPLE_ZONE);
  return true;
}

std::uint8_t decode_state(const nlattr* details, std::uint8_t protocol) {
  const auto at = state_at(protocol);
  const nlattr* nest = at ? find(details, at->nest) : nullptr;
  const nlattr* state = nest == nullptr ? nullptr : find(nest, at->state);
  return state == nullptr || mnl_attr_validate(state, MNL_TYPE_U8) < 0 ? std::uint8_t{0} : mnl_attr_get_u8(state);
}

}  // namespace

void append_list(const Question& question, std::uint32_t sequence, std::vector<std::uint8_t>& out) {
  Request request(IPCTNL_MSG_CT_GET, NLM_F_DUMP, question.family, sequence);
  nlattr* filter = mnl_attr_nest_start(*request, CTA_FILTER);
  mnl_attr_put_u32(*request, CTA_FILTER_ORIG_FLAGS, kFilterProtocol);
  mnl_attr_nest_end(*request, filter);
  nlattr* tuple = mnl_attr_nest_start(*request, CTA_TUPLE_ORIG);
  nlattr* ports = mnl_attr_nest_start(*request, CTA_TUPLE_PROTO);
  mnl_attr_put_u8(*request, CTA_PROTO_NUM, question.protocol);
  mnl_attr_nest_end(*request, ports);
  mnl_attr_nest_end(*request, tuple);
  if (question.unanswered) {  // since 5.20; before, the attribute is overlooked
    mnl_attr_put_u32(*request, CTA_STATUS, 0);
    mnl_attr_put_u32(*request, CTA_STATUS_MASK, htonl(kSeenReply));
  }
  request.append_to(out);
}

void append_erase(const Entry& entry, std::uint16_t flags, std::uint32_t sequence, std::vector<std::uint8_t>& out) {
  Request request(IPCTNL_MSG_CT_DELETE, flags, entry.family(), sequence);
  put_tuple(*request, CTA_TUPLE_ORIG, entry.original, entry.protocol);
  put_zone(*request, entry);
  if (entry.id != 0) mnl_attr_put_u32(*request, CTA_ID, htonl(entry.id));
  request.append_to(out);
}

void append_create(const Entry& entry, std::uint32_t timeout, std::uint16_t flags, std::uint32_t sequence,
                   std::vector<std::uint8_t>& out) {
  Request request(IPCTNL_MSG_CT_NEW, static_cast<std::uint16_t>(NLM_F_CREATE | NLM_F_EXCL | flags), entry.family(),
                  sequence);
  put_tuple(*request, CTA_TUPLE_ORIG, entry.original, entry.protocol);
  put_tuple(*request, CTA_TUPLE_REPLY, entry.reply, entry.protocol);
  put_zone(*request, entry);
  mnl_attr_put_u32(*request, CTA_STATUS, htonl(entry.status));
  mnl_attr_put_u32(*request, CTA_TIMEOUT, htonl(timeout));
  if (entry.mark != 0) mnl_attr_put_u32(*request, CTA_MARK, htonl(entry.mark));
  if (const auto at = state_at(entry.protocol)) {
    nlattr* details = mnl_attr_nest_start(*request, CTA_PROTOINFO);
    nlattr* nest = mnl_attr_nest_start(*request, at->nest);
    mnl_attr_put_u8(*request, at->state, entry.state);
    if (entry.protocol == kSctp) {  // all three or none
      mnl_attr_put_u32(*request, CTA_PROTOINFO_SCTP_VTAG_ORIGINAL, htonl(1));
      mnl_attr_put_u32(*request, CTA_PROTOINFO_SCTP_VTAG_REPLY, htonl(1));
    }
    mnl_attr_nest_end(*request, nest);
    mnl_attr_nest_end(*request, details);
  }
  request.append_to(out);
}

std::optional<Entry> decode(const nlmsghdr* message) {
  if (message->nlmsg_type >> 8 != NFNL_SUBSYS_CTNETLINK || message->nlmsg_len < mnl_nlmsg_size(sizeof(nfgenmsg))) {
    return std::nullopt;
  }
  Entry out;
  bool original = false;
  bool reply = false;
  const nlattr* details = nullptr;
  const auto u32 = [](const nlattr* attr) {
    return mnl_attr_validate(attr, MNL_TYPE_U32) < 0 ? std::uint32_t{0} : ntohl(mnl_attr_get_u32(attr));
  };
  for_each(mnl_nlmsg_get_payload_offset(message, sizeof(nfgenmsg)),
           message->nlmsg_len - mnl_nlmsg_size(sizeof(nfgenmsg)), [&](const nlattr* attr) {
             switch (mnl_attr_get_type(attr)) {
               case CTA_TUPLE_ORIG: original = decode_tuple(attr, out.original, out.protocol); break;
               case CTA_TUPLE_REPLY: reply = decode_tuple(attr, out.reply, out.protocol); break;
               case CTA_ZONE:
                 out.zone =
                     mnl_attr_validate(attr, MNL_TYPE_U16) < 0 ? std::uint16_t{0} : ntohs(mnl_attr_get_u16(attr));
                 break;
               case CTA_STATUS: out.status = u32(attr); break;
               case CTA_MARK: out.mark = u32(attr); break;
               case CTA_ID: out.id = u32(attr); break;
               case CTA_PROTOINFO: details = attr; break;
               default: break;
             }
           });
  if (!original || !reply) return std::nullopt;
  if (details != nullptr) out.state = decode_state(details, out.protocol);
  return out;
}

bool matches(const Question& question, const Entry& entry) {
  return entry.family() == question.family && entry.protocol == question.protocol &&
         !(question.unanswered && (entry.status & kSeenReply) != 0);
}

}  // namespace fairlead::net::conntrack
