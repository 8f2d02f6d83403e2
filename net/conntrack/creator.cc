#include "net/conntrack/creator.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "net/conntrack/message.h"

namespace fairlead::net::conntrack {

Result<Creator> Creator::open() {
  base::Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!fd) return Error::from_errno("cannot open a netfilter netlink socket", errno);
  return Creator(std::move(fd));
}

Status Creator::create(const std::vector<Entry>& entries) {
  constexpr std::size_t kAtOnce = 100;
  for (std::size_t at = 0; at < entries.size(); at += kAtOnce) {
    std::vector<std::uint8_t> packet;
    const std::size_t end = std::min(entries.size(), at + kAtOnce);
    for (std::size_t i = at; i < end; ++i) append_create(entries[i], 600, i + 1 == end ? NLM_F_ACK : 0, 1, packet);
    if (::send(socket_.get(), packet.data(), packet.size(), 0) < 0) return Error::from_errno("create", errno);
    // One answer: the first error, or the acknowledgement of the last.
    std::array<char, 1024> answer{};
    if (::recv(socket_.get(), answer.data(), answer.size(), 0) < 0) return Error::from_errno("create", errno);
    nlmsgerr error{};
    std::memcpy(&error, answer.data() + NLMSG_HDRLEN, sizeof error);
    if (error.error != 0) return Error::from_errno("create conntrack entries", -error.error);
  }
  return {};
}

}  // namespace fairlead::net::conntrack
