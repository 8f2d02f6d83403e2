#include "net/netlink_message.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/fd.h"

namespace fairlead::net {
namespace {

constexpr std::size_t kAnswerBytes = 32768;  // of one datagram of a dump (linux v6.1 net/netlink/af_netlink.c)

struct Answers {
  std::vector<std::string> bodies;
  bool complete = false;
};

// man 7 netlink: a dump ends with NLMSG_DONE, everything else with an NLMSG_ERROR that says 0, or with its one answer.
Status take(std::string_view datagram, bool is_dump, bool wants_ack, Answers& out) {
  while (datagram.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header{};
    std::memcpy(&header, datagram.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > datagram.size()) return Error("netlink: cut short");
    const std::string_view body = datagram.substr(sizeof header, header.nlmsg_len - sizeof header);
    if (header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE) {
      int error = 0;
      if (body.size() >= sizeof error) std::memcpy(&error, body.data(), sizeof error);
      if (error < 0) return Error::from_errno("netlink", -error);
      out.complete = true;
    } else {
      out.bodies.emplace_back(body);
      if (!is_dump && !wants_ack) out.complete = true;
    }
    const std::size_t step = NLMSG_ALIGN(header.nlmsg_len);
    datagram.remove_prefix(std::min(step, datagram.size()));
  }
  return {};
}

}  // namespace

NetlinkMessage::NetlinkMessage(std::uint16_t type, std::uint16_t flags) {
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST);
  header.nlmsg_seq = 1;
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

std::string NetlinkMessage::finished() const {
  std::string out = data_;
  const auto size = static_cast<std::uint32_t>(out.size());
  std::memcpy(out.data(), &size, sizeof size);  // nlmsg_len is the header's first member
  return out;
}

Result<std::vector<std::string>> netlink_request(int protocol, const NetlinkMessage& message) {
  const base::Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) return Error::from_errno("netlink socket", errno);
  const std::string request = message.finished();
  nlmsghdr header{};
  std::memcpy(&header, request.data(), sizeof header);
  const bool is_dump = (header.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
  const bool wants_ack = (header.nlmsg_flags & NLM_F_ACK) != 0;
  if (::send(fd.get(), request.data(), request.size(), 0) < 0) return Error::from_errno("netlink send", errno);
  Answers answers;
  std::string buffer(kAnswerBytes, '\0');
  while (!answers.complete) {
    const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno("netlink receive", errno);
    TRY(take(std::string_view(buffer.data(), static_cast<std::size_t>(n)), is_dump, wants_ack, answers));
  }
  return std::move(answers.bodies);
}

std::string_view netlink_attribute(std::string_view attributes, std::uint16_t type) {
  while (attributes.size() >= sizeof(nlattr)) {
    nlattr head{};
    std::memcpy(&head, attributes.data(), sizeof head);
    if (head.nla_len < sizeof head || head.nla_len > attributes.size()) break;
    if ((head.nla_type & NLA_TYPE_MASK) == type) return attributes.substr(sizeof head, head.nla_len - sizeof head);
    const std::size_t step = NLA_ALIGN(head.nla_len);
    attributes.remove_prefix(std::min(step, attributes.size()));
  }
  return {};
}

}  // namespace fairlead::net
