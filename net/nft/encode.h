// encode(): a Batch as the bytes of one sendmsg, with what is needed to trace a kernel error back to its command.
// Internal to net/nft. Elements are written in place, they are what there is much of; the rest is objects.h.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "net/nft/types.h"

struct nlmsghdr;

namespace fairlead::net::nft {

struct SentMessage {
  std::size_t command = 0;
  std::size_t first_element = 0;
  std::uint32_t elements_at = 0;  // offset of the first element from the message's start; 0: no elements
  std::uint32_t stride = 0;       // bytes of one element
};

struct EncodedBatch {
  std::vector<std::uint8_t> bytes;
  std::vector<SentMessage> messages;  // message i has sequence number first_sequence + i; begin and end are outside

  // Which command (and element) the kernel's error offset `at` into message `index` points to.
  std::optional<std::size_t> element_at(std::size_t index, std::uint32_t at) const;
};

// `commit` false leaves out the batch's end, so that the kernel checks and then forgets it. With a `generation` the
// kernel refuses it (ERESTART) when that is over (linux v6.1 net/netfilter/nfnetlink.c nfnetlink_rcv_batch).
EncodedBatch encode(const Batch& batch, std::uint32_t first_sequence, bool commit, std::uint32_t generation = 0);

// Asks for `count` elements by key.
std::vector<std::uint8_t> encode_question(const TableId& table, const std::string& set, const Element* keys,
                                          std::size_t count, std::uint32_t sequence);

}  // namespace fairlead::net::nft
