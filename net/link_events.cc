#include "net/link_events.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace fairlead::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Every event of one datagram; whether one of them is wanted.
bool any_wanted(std::string_view datagram, const std::function<bool(const LinkEvent&)>& wanted) {
  while (datagram.size() >= sizeof(nlmsghdr)) {
    const auto header = netlink_value<nlmsghdr>(datagram);
    if (header.nlmsg_len < NLMSG_LENGTH(sizeof(ifinfomsg)) || header.nlmsg_len > datagram.size()) return false;
    const std::string_view body = datagram.substr(NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN);
    datagram.remove_prefix(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), datagram.size()));
    const auto link = netlink_value<ifinfomsg>(body);
    // A bridge's port leaving it is told as RTM_DELLINK of AF_BRIDGE: the link lives on.
    if (link.ifi_family != AF_UNSPEC) continue;
    const auto operstate = netlink_attribute(body.substr(NLMSG_ALIGN(sizeof link)), IFLA_OPERSTATE);
    if (wanted({.index = static_cast<std::uint32_t>(link.ifi_index),
                .deleted = header.nlmsg_type == RTM_DELLINK,
                .operstate = netlink_value<std::uint8_t>(operstate)}))
      return true;
  }
  return false;
}

}  // namespace

Result<LinkEvents> LinkEvents::open() {
  NetlinkSocket socket = TRY(NetlinkSocket::open(NETLINK_ROUTE));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK;
  if (::bind(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return Error::from_errno("listen for link events", errno);
  return LinkEvents(std::move(socket));
}

Result<bool> LinkEvents::await(milliseconds limit, const std::function<bool(const LinkEvent&)>& wanted) {
  const auto deadline = steady_clock::now() + limit;
  NetlinkSocket::Datagram buffer;
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    pollfd ready{.fd = socket_.fd(), .events = POLLIN, .revents = 0};
    const int count = ::poll(&ready, 1, static_cast<int>(std::max<milliseconds::rep>(left.count(), 0)));
    if (count == 0) return false;
    if (count < 0 && errno != EINTR) return Error::from_errno("wait for link events", errno);
    if (count < 0) continue;
    const ssize_t n = ::recv(socket_.fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n < 0 && errno == ENOBUFS) return false;
    if (n < 0 && errno != EINTR && errno != EAGAIN) return Error::from_errno("receive link events", errno);
    if (n > 0 && any_wanted(std::string_view(buffer.data(), static_cast<std::size_t>(n)), wanted)) return true;
  }
}

}  // namespace fairlead::net
