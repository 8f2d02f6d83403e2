// NetlinkMessage: one netlink request put together by hand; and the socket that sends it in the network namespace it
// was opened in and gathers the answers.
//
// The static CNI binary speaks rtnetlink and nfnetlink through these: Debian has no static libmnl, and what one pod
// needs is some twenty messages (docs/adr/0016).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace fairlead::net {

class NetlinkMessage {
 public:
  // NLM_F_REQUEST comes by itself; `flags` NLM_F_DUMP for many answers, NLM_F_ACK for none.
  NetlinkMessage(std::uint16_t type, std::uint16_t flags);

  // What `fill(message)` appends, by itself: the inside of a nest that another function puts into its message.
  template <typename Fill>
  static std::string attributes(Fill&& fill) {
    NetlinkMessage message(0, 0);
    const std::size_t head = message.data_.size();
    fill(message);
    return message.data_.substr(head);
  }

  // The protocol's own header (nfgenmsg, genlmsghdr, ifinfomsg), before any attribute.
  template <typename T>
  NetlinkMessage& header(const T& value) {
    return bytes(&value, sizeof value);
  }
  NetlinkMessage& attribute(std::uint16_t type, std::string_view value);
  NetlinkMessage& text(std::uint16_t type, std::string_view value);  // with its terminating zero
  // A number or a struct in host order.
  template <typename T>
  requires std::is_trivially_copyable_v<T> NetlinkMessage& value(std::uint16_t type, const T& what) {
    return attribute(type, std::string_view(reinterpret_cast<const char*>(&what), sizeof what));
  }
  NetlinkMessage& be16(std::uint16_t type, std::uint16_t number);
  NetlinkMessage& be32(std::uint16_t type, std::uint32_t number);
  NetlinkMessage& be64(std::uint16_t type, std::uint64_t number);
  // `fill(message)` appends what stands inside, a struct at its head by header() included. NLA_F_NESTED is the
  // caller's.
  template <typename Fill>
  NetlinkMessage& nest(std::uint16_t type, Fill&& fill) {
    const std::size_t at = open_nest(type);
    fill(*this);
    return close_nest(at);
  }
  std::uint16_t type() const;
  std::uint16_t flags() const;
  // Nothing may follow it in the message.
  std::string finished(std::uint32_t sequence = 1, std::uint16_t more_flags = 0) const;

 private:
  NetlinkMessage& bytes(const void* data, std::size_t size);
  std::size_t open_nest(std::uint16_t type);
  NetlinkMessage& close_nest(std::size_t at);
  std::string data_;
};

class NetlinkSocket {
 public:
  // Stays in the calling thread's present network namespace wherever the thread goes.
  static Result<NetlinkSocket> open(int protocol);

  // Bodies (behind nlmsghdr) of the answers to one request: a dump, a question, or an acknowledged order. An Error
  // carries the kernel's errno and what it says of it (NETLINK_EXT_ACK).
  Result<std::vector<std::string>> ask(const NetlinkMessage& message);

  // All of `messages` in one write, in order; each asks for its acknowledgement (NLM_F_ACK). The kernel works on them
  // one by one and goes on behind an error. `outcomes` has one Status per message.
  Result<std::vector<Status>> order(const std::vector<NetlinkMessage>& messages);
  // As order(), where the first refusal is the Error.
  Status order_all(const std::vector<NetlinkMessage>& messages);

  int fd() const { return fd_.get(); }

  // What a dump sends at once is no more (linux v6.1 net/netlink/af_netlink.c netlink_dump). To be had on the stack,
  // and not cleared: most answers take one of its pages.
  using Datagram = std::array<char, 32768>;

 private:
  explicit NetlinkSocket(base::Fd fd) : fd_(std::move(fd)) {}
  Result<std::string_view> receive(Datagram& buffer);

  base::Fd fd_;
  std::uint32_t sequence_ = 0;
};

// One request on a socket of its own.
Result<std::vector<std::string>> netlink_request(int protocol, const NetlinkMessage& message);

// The value of the first attribute `type` in `attributes`; empty when there is none.
std::string_view netlink_attribute(std::string_view attributes, std::uint16_t type);

// Every attribute in turn; `each(type, value)`, the type without its flags.
template <typename Each>
void for_each_netlink_attribute(std::string_view attributes, Each&& each);

// A struct or number at the head of `bytes`, zero-filled when they are fewer.
template <typename T>
T netlink_value(std::string_view bytes) {
  T out{};
  bytes.copy(reinterpret_cast<char*>(&out), sizeof out);
  return out;
}

// One attribute taken off the front of `rest`; false at the end or where the rest is no attribute.
bool next_netlink_attribute(std::string_view& rest, std::uint16_t& type, std::string_view& value);

template <typename Each>
void for_each_netlink_attribute(std::string_view attributes, Each&& each) {
  std::uint16_t type = 0;
  std::string_view value;
  while (next_netlink_attribute(attributes, type, value)) each(type, value);
}

}  // namespace fairlead::net
