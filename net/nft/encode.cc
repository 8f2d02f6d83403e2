#include "net/nft/encode.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "net/nft/attributes.h"
#include "net/nft/objects.h"

namespace fairlead::net::nft {
namespace {

// A nested attribute's length is 16 bits; a list of elements ends well before.
constexpr std::size_t kMaxList = 60000;
constexpr std::size_t kRoom = 1U << 17;  // any one message fits

void put_value(nlmsghdr* header, std::uint16_t type, const void* bytes, std::size_t size) {
  nlattr* nest = start_nest(header, type);
  put_bytes(header, NFTA_DATA_VALUE, size, bytes);
  end_nest(header, nest);
}

class Encoder {
 public:
  Encoder(std::uint32_t first_sequence, EncodedBatch& out) : out_(out), sequence_(first_sequence) {}

  void boundary(std::uint16_t type, std::uint32_t sequence, std::uint32_t generation = 0) {
    NetlinkMessage message(type, 0);
    message.header(nfgenmsg{.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES)});
    if (generation != 0) message.be32(NFNL_BATCH_GENID, generation);
    const std::string bytes = message.finished(sequence);
    std::memcpy(reserve(), bytes.data(), bytes.size());
    used_ += bytes.size();
  }

  void add(std::size_t index, const AddSet& c) { append(index, message_of(c, static_cast<std::uint32_t>(index) + 1)); }
  template <typename C>
  void add(std::size_t index, const C& c) {
    append(index, message_of(c));
  }
  void add(std::size_t index, const AddElements& c) { elements(index, NFT_MSG_NEWSETELEM, NLM_F_CREATE, c); }
  void add(std::size_t index, const AddVerdicts& c) { elements(index, NFT_MSG_NEWSETELEM, NLM_F_CREATE, c); }
  void add(std::size_t index, const DeleteElements& c) { elements(index, NFT_MSG_DELSETELEM, 0, c); }

  void acknowledge_last() {
    if (!out_.messages.empty()) reinterpret_cast<nlmsghdr*>(&out_.bytes[last_])->nlmsg_flags |= NLM_F_ACK;
  }

 private:
  char* reserve() {
    if (out_.bytes.size() < used_ + kRoom) out_.bytes.resize(std::max(out_.bytes.size() * 2, used_ + kRoom));
    return reinterpret_cast<char*>(out_.bytes.data() + used_);
  }
  void append(std::size_t command, const NetlinkMessage& message) {
    out_.messages.push_back({.command = command});
    last_ = used_;
    const std::string bytes = message.finished(sequence_++);
    std::memcpy(reserve(), bytes.data(), bytes.size());
    used_ += bytes.size();
  }
  // A message that attributes are put behind until close().
  nlmsghdr* open(std::size_t command, std::uint16_t type, const TableId& table, std::uint16_t flags) {
    const std::size_t at = used_;
    append(command, table_message(type, flags, table));
    used_ = at;
    return reinterpret_cast<nlmsghdr*>(&out_.bytes[at]);
  }
  void close(const nlmsghdr* header) { used_ += NLMSG_ALIGN(header->nlmsg_len); }

 public:
  void finish() { out_.bytes.resize(used_); }

 private:
  static void put(nlmsghdr* header, const Element& e) {
    put_value(header, NFTA_SET_ELEM_KEY, e.key.data(), e.key_size);
    if (e.data_size > 0) put_value(header, NFTA_SET_ELEM_DATA, e.data.data(), e.data_size);
  }
  static void put(nlmsghdr* header, const VerdictElement& e) {
    put_value(header, NFTA_SET_ELEM_KEY, &e.key, sizeof e.key);
    nlattr* data = start_nest(header, NFTA_SET_ELEM_DATA);
    nlattr* verdict = start_nest(header, NFTA_DATA_VERDICT);
    const int code = e.go_to.empty() ? NF_DROP : e.returns ? NFT_JUMP : NFT_GOTO;
    const std::uint32_t code_be = htonl(static_cast<std::uint32_t>(code));
    put_bytes(header, NFTA_VERDICT_CODE, sizeof code_be, &code_be);
    if (!e.go_to.empty()) put_text(header, NFTA_VERDICT_CHAIN, e.go_to);
    end_nest(header, verdict);
    end_nest(header, data);
  }

  template <typename C>
  void elements(std::size_t index, std::uint16_t type, std::uint16_t flags, const C& c) {
    std::string udata;
    if constexpr (std::is_same_v<C, AddElements>) {
      if (!c.comment.empty()) udata = comment_udata(c.comment);
    }
    std::size_t next = 0;
    while (next < c.elements.size()) {
      nlmsghdr* header = open(index, type, c.table, flags);
      put_text(header, NFTA_SET_ELEM_LIST_TABLE, c.table.name);
      put_text(header, NFTA_SET_ELEM_LIST_SET, c.set);
      nlattr* list = start_nest(header, NFTA_SET_ELEM_LIST_ELEMENTS);
      SentMessage& sent = out_.messages.back();
      sent.first_element = next;
      // Verdicts are of different lengths, so an offset does not tell which one it is.
      if constexpr (!std::is_same_v<C, AddVerdicts>) sent.elements_at = header->nlmsg_len;
      const std::uint32_t start = header->nlmsg_len;
      while (next < c.elements.size() && header->nlmsg_len - start < kMaxList) {
        const std::uint32_t before = header->nlmsg_len;
        nlattr* nest = start_nest(header, NFTA_LIST_ELEM);
        put(header, c.elements[next++]);
        if (!udata.empty()) put_bytes(header, NFTA_SET_ELEM_USERDATA, udata.size(), udata.data());
        end_nest(header, nest);
        sent.stride = std::max(sent.stride, header->nlmsg_len - before);
      }
      end_nest(header, list);
      close(header);
    }
  }

  EncodedBatch& out_;
  std::uint32_t sequence_;
  std::size_t used_ = 0;
  std::size_t last_ = 0;  // offset of the last message
};

}  // namespace

std::vector<std::uint8_t> encode_question(const TableId& table, const std::string& set, const Element* keys,
                                          std::size_t count, std::uint32_t sequence) {
  std::vector<std::uint8_t> bytes(kRoom);
  const std::string head = table_message(NFT_MSG_GETSETELEM, NLM_F_ACK, table).finished(sequence);
  std::memcpy(bytes.data(), head.data(), head.size());
  auto* header = reinterpret_cast<nlmsghdr*>(bytes.data());
  put_text(header, NFTA_SET_ELEM_LIST_TABLE, table.name);
  put_text(header, NFTA_SET_ELEM_LIST_SET, set);
  nlattr* list = start_nest(header, NFTA_SET_ELEM_LIST_ELEMENTS);
  for (std::size_t i = 0; i < count; ++i) {
    nlattr* nest = start_nest(header, NFTA_LIST_ELEM);
    put_value(header, NFTA_SET_ELEM_KEY, keys[i].key.data(), keys[i].key_size);
    end_nest(header, nest);
  }
  end_nest(header, list);
  bytes.resize(header->nlmsg_len);
  return bytes;
}

std::optional<std::size_t> EncodedBatch::element_at(std::size_t index, std::uint32_t at) const {
  const SentMessage& message = messages[index];
  if (message.elements_at == 0 || at < message.elements_at) return std::nullopt;
  return message.first_element + (at - message.elements_at) / message.stride;
}

EncodedBatch encode(const Batch& batch, std::uint32_t first_sequence, bool commit, std::uint32_t generation) {
  EncodedBatch out;
  Encoder encoder(first_sequence, out);
  encoder.boundary(NFNL_MSG_BATCH_BEGIN, first_sequence - 1, generation);
  for (std::size_t i = 0; i < batch.size(); ++i) {
    std::visit([&](const auto& command) { encoder.add(i, command); }, batch[i]);
  }
  encoder.acknowledge_last();
  if (commit) {
    encoder.boundary(NFNL_MSG_BATCH_END, first_sequence + static_cast<std::uint32_t>(out.messages.size()));
  }
  encoder.finish();
  return out;
}

}  // namespace fairlead::net::nft
