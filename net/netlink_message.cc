#include "net/netlink_message.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/strings.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

namespace fairlead::net {
namespace {

// One message taken off the front of `datagram`.
struct Taken {
  nlmsghdr header{};
  std::string_view body;
};

Result<Taken> take(std::string_view& datagram) {
  Taken taken;
  if (datagram.size() < sizeof taken.header) return Error("netlink: cut short");
  std::memcpy(&taken.header, datagram.data(), sizeof taken.header);
  const std::size_t size = taken.header.nlmsg_len;
  if (size < sizeof taken.header || size > datagram.size()) return Error("netlink: cut short");
  taken.body = datagram.substr(sizeof taken.header, size - sizeof taken.header);
  datagram.remove_prefix(std::min<std::size_t>(NLMSG_ALIGN(size), datagram.size()));
  return taken;
}

// What an NLMSG_ERROR or NLMSG_DONE says; success is an error of 0.
Status verdict(const Taken& taken) {
  const int error = netlink_value<int>(taken.body);
  if (error >= 0) return {};
  // The kernel's own words stand behind the repeated request (NETLINK_CAP_ACK leaves only its header).
  const std::size_t words_at = sizeof(int) + sizeof(nlmsghdr);
  std::string_view words;
  if ((taken.header.nlmsg_flags & NLM_F_ACK_TLVS) != 0 && taken.body.size() > words_at)
    words = netlink_attribute(taken.body.substr(words_at), NLMSGERR_ATTR_MSG);
  while (!words.empty() && words.back() == '\0') words.remove_suffix(1);
  return Error::from_errno(words.empty() ? std::string("netlink") : base::cat("netlink: ", words), -error);
}

}  // namespace

NetlinkMessage::NetlinkMessage(std::uint16_t type, std::uint16_t flags) {
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST);
  bytes(&header, sizeof header);
}

NetlinkMessage& NetlinkMessage::bytes(const void* data, std::size_t size) {
  data_.append(static_cast<const char*>(data), size);
  data_.resize(NLMSG_ALIGN(data_.size()), '\0');
  return *this;
}

NetlinkMessage& NetlinkMessage::attribute(std::uint16_t type, std::string_view value) {
  nlattr head{};
  head.nla_type = type;
  head.nla_len = static_cast<std::uint16_t>(sizeof head + value.size());
  bytes(&head, sizeof head);
  return bytes(value.data(), value.size());
}

NetlinkMessage& NetlinkMessage::text(std::uint16_t type, std::string_view value) {
  return attribute(type, std::string(value) + '\0');
}

NetlinkMessage& NetlinkMessage::be16(std::uint16_t type, std::uint16_t number) { return value(type, htons(number)); }
NetlinkMessage& NetlinkMessage::be32(std::uint16_t type, std::uint32_t number) { return value(type, htonl(number)); }
NetlinkMessage& NetlinkMessage::be64(std::uint16_t type, std::uint64_t number) {
  return value(type, std::uint64_t{htobe64(number)});
}

std::size_t NetlinkMessage::open_nest(std::uint16_t type) {
  const std::size_t at = data_.size();
  nlattr head{};
  head.nla_type = type;
  bytes(&head, sizeof head);
  return at;
}

NetlinkMessage& NetlinkMessage::close_nest(std::size_t at) {
  const auto size = static_cast<std::uint16_t>(data_.size() - at);
  std::memcpy(data_.data() + at, &size, sizeof size);  // nla_len is the header's first member
  return *this;
}

std::uint16_t NetlinkMessage::type() const { return netlink_value<nlmsghdr>(data_).nlmsg_type; }
std::uint16_t NetlinkMessage::flags() const { return netlink_value<nlmsghdr>(data_).nlmsg_flags; }

std::string NetlinkMessage::finished(std::uint32_t sequence, std::uint16_t more_flags) const {
  std::string out = data_;
  auto header = netlink_value<nlmsghdr>(out);
  header.nlmsg_len = static_cast<std::uint32_t>(out.size());
  header.nlmsg_seq = sequence;
  header.nlmsg_flags |= more_flags;
  std::memcpy(out.data(), &header, sizeof header);
  return out;
}

Result<NetlinkSocket> NetlinkSocket::open(int protocol) {
  base::Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) return Error::from_errno("netlink socket", errno);
  const int on = 1;
  // Without them an error is only a number; that is no reason to fail.
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  return NetlinkSocket(std::move(fd));
}

Result<std::string_view> NetlinkSocket::receive(Datagram& buffer) {
  for (;;) {
    const ssize_t n = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno("netlink receive", errno);
    return std::string_view(buffer.data(), static_cast<std::size_t>(n));
  }
}

// man 7 netlink: a dump ends with NLMSG_DONE, everything else with an NLMSG_ERROR that says 0, or with its one answer.
Result<std::vector<std::string>> NetlinkSocket::ask(const NetlinkMessage& message) {
  const std::string request = message.finished(++sequence_);
  const bool one_answer = (message.flags() & NLM_F_DUMP) != NLM_F_DUMP && (message.flags() & NLM_F_ACK) == 0;
  if (::send(fd_.get(), request.data(), request.size(), 0) < 0) return Error::from_errno("netlink send", errno);
  std::vector<std::string> bodies;
  Datagram buffer;
  for (;;) {
    for (std::string_view rest = TRY(receive(buffer)); rest.size() >= sizeof(nlmsghdr);) {
      const Taken taken = TRY(take(rest));
      if (taken.header.nlmsg_seq != sequence_) continue;  // late, of an abandoned request
      if (taken.header.nlmsg_type == NLMSG_ERROR || taken.header.nlmsg_type == NLMSG_DONE) {
        TRY(verdict(taken));
        return bodies;
      }
      bodies.emplace_back(taken.body);
      if (one_answer) return bodies;
    }
  }
}

Result<std::vector<Status>> NetlinkSocket::order(const std::vector<NetlinkMessage>& messages) {
  std::string write;
  const std::uint32_t first = sequence_ + 1;
  for (const NetlinkMessage& message : messages) write += message.finished(++sequence_, NLM_F_ACK);
  std::vector<Status> outcomes(messages.size());
  if (messages.empty()) return outcomes;
  if (::send(fd_.get(), write.data(), write.size(), 0) < 0) return Error::from_errno("netlink send", errno);
  Datagram buffer;
  for (std::size_t open = messages.size(); open > 0;) {
    for (std::string_view rest = TRY(receive(buffer)); rest.size() >= sizeof(nlmsghdr);) {
      const Taken taken = TRY(take(rest));
      const std::size_t index = taken.header.nlmsg_seq - first;
      if (index >= messages.size() || taken.header.nlmsg_type != NLMSG_ERROR) continue;
      outcomes[index] = verdict(taken);
      --open;
    }
  }
  return outcomes;
}

Status NetlinkSocket::order_all(const std::vector<NetlinkMessage>& messages) {
  for (Status& outcome : TRY(order(messages))) TRY(std::move(outcome));
  return {};
}

Result<std::vector<std::string>> netlink_request(int protocol, const NetlinkMessage& message) {
  NetlinkSocket socket = TRY(NetlinkSocket::open(protocol));
  return socket.ask(message);
}

bool next_netlink_attribute(std::string_view& rest, std::uint16_t& type, std::string_view& value) {
  if (rest.size() < sizeof(nlattr)) return false;
  const auto head = netlink_value<nlattr>(rest);
  if (head.nla_len < sizeof head || head.nla_len > rest.size()) return false;
  type = head.nla_type & NLA_TYPE_MASK;
  value = rest.substr(sizeof head, head.nla_len - sizeof head);
  rest.remove_prefix(std::min<std::size_t>(NLA_ALIGN(head.nla_len), rest.size()));
  return true;
}

std::string_view netlink_attribute(std::string_view attributes, std::uint16_t type) {
  std::uint16_t found = 0;
  std::string_view value;
  while (next_netlink_attribute(attributes, found, value)) {
    if (found == type) return value;
  }
  return {};
}

}  // namespace fairlead::net
