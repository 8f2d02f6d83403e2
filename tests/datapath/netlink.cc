#include "tests/datapath/netlink.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/strings.h"

namespace fairlead::testbed {
namespace {

using base::cat;

constexpr std::size_t aligned(std::size_t size) { return (size + NLMSG_ALIGNTO - 1) & ~std::size_t{NLMSG_ALIGNTO - 1}; }

std::uint8_t family_of(const net::Ip& ip) { return ip.is_v4() ? AF_INET : AF_INET6; }

}  // namespace

Result<Netlink> Netlink::open() {
  base::Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket) return Error::from_errno("netlink socket", errno);
  const int one = 1;
  ::setsockopt(socket.get(), SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
  const timeval limit{5, 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return Netlink(std::move(socket));
}

void Netlink::begin(std::uint16_t type, std::uint16_t flags, const void* header, std::size_t size, std::string what) {
  finish();
  message_at_ = buffer_.size();
  nlmsghdr message{};
  message.nlmsg_type = type;
  message.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
  message.nlmsg_seq = ++sequence_;
  buffer_.resize(message_at_ + aligned(sizeof message) + aligned(size));
  std::memcpy(buffer_.data() + message_at_, &message, sizeof message);
  std::memcpy(buffer_.data() + message_at_ + aligned(sizeof message), header, size);
  batch_.push_back(std::move(what));
}

void Netlink::finish() {
  if (batch_.empty()) return;
  const auto length = static_cast<std::uint32_t>(buffer_.size() - message_at_);
  std::memcpy(buffer_.data() + message_at_, &length, sizeof length);  // nlmsg_len is the first member
}

void Netlink::attribute(std::uint16_t type, const void* data, std::size_t size) {
  const std::size_t at = buffer_.size();
  const rtattr header{static_cast<unsigned short>(RTA_LENGTH(size)), type};
  buffer_.resize(at + RTA_SPACE(size));
  std::memcpy(buffer_.data() + at, &header, sizeof header);
  if (size > 0) std::memcpy(buffer_.data() + at + RTA_LENGTH(0), data, size);
}

void Netlink::attribute(std::uint16_t type, const net::Ip& ip) {
  const auto& bytes = ip.bytes();
  if (ip.is_v4()) {
    attribute(type, bytes.data() + 12, 4);
  } else {
    attribute(type, bytes.data(), 16);
  }
}

void Netlink::attribute_text(std::uint16_t type, const std::string& text) {
  attribute(type, text.c_str(), text.size() + 1);
}
void Netlink::attribute_u32(std::uint16_t type, std::uint32_t value) { attribute(type, &value, sizeof value); }

std::size_t Netlink::open_nest(std::uint16_t type) {
  const std::size_t at = buffer_.size();
  attribute(type, nullptr, 0);
  return at;
}

void Netlink::close_nest(std::size_t at) {
  const auto length = static_cast<std::uint16_t>(buffer_.size() - at);
  std::memcpy(buffer_.data() + at, &length, sizeof length);  // rta_len is the first member
}

void Netlink::begin_link(std::uint16_t type, std::uint16_t flags, int index, unsigned up, std::string what) {
  ifinfomsg link{};
  link.ifi_index = index;
  link.ifi_flags = up;
  link.ifi_change = up;
  begin(type, flags, &link, sizeof link, std::move(what));
}

void Netlink::add_bridge(const Interface& bridge) {
  begin_link(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, bridge.index, IFF_UP, cat("add bridge ", bridge.name));
  attribute_text(IFLA_IFNAME, bridge.name);
  attribute(IFLA_ADDRESS, bridge.mac.data(), bridge.mac.size());
  const std::size_t info = open_nest(IFLA_LINKINFO);
  attribute_text(IFLA_INFO_KIND, "bridge");
  const std::size_t data = open_nest(IFLA_INFO_DATA);
  const std::uint8_t off = 0;
  attribute(IFLA_BR_MCAST_SNOOPING, &off, sizeof off);  // neighbour discovery must not wait for group membership
  close_nest(data);
  close_nest(info);
}

void Netlink::add_veth(const Interface& here, const Interface& peer, int master_index) {
  begin_link(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, here.index, 0,
             cat("add veth ", here.name, " with peer ", peer.name));
  attribute_text(IFLA_IFNAME, here.name);
  attribute(IFLA_ADDRESS, here.mac.data(), here.mac.size());
  if (master_index != 0) attribute_u32(IFLA_MASTER, static_cast<std::uint32_t>(master_index));
  const std::size_t info = open_nest(IFLA_LINKINFO);
  attribute_text(IFLA_INFO_KIND, "veth");
  const std::size_t data = open_nest(IFLA_INFO_DATA);
  const std::size_t other = open_nest(VETH_INFO_PEER);
  ifinfomsg link{};
  link.ifi_index = peer.index;
  const std::size_t at = buffer_.size();
  buffer_.resize(at + sizeof link);
  std::memcpy(buffer_.data() + at, &link, sizeof link);
  attribute_text(IFLA_IFNAME, peer.name);
  attribute(IFLA_ADDRESS, peer.mac.data(), peer.mac.size());
  if (peer.netns_fd >= 0) attribute_u32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(peer.netns_fd));
  close_nest(other);
  close_nest(data);
  close_nest(info);
}

void Netlink::set_up(int index) { begin_link(RTM_NEWLINK, 0, index, IFF_UP, cat("set interface ", index, " up")); }
void Netlink::delete_link(int index) { begin_link(RTM_DELLINK, 0, index, 0, cat("delete interface ", index)); }

void Netlink::add_address(int index, const net::Ip& address, int length) {
  ifaddrmsg header{};
  header.ifa_family = family_of(address);
  header.ifa_prefixlen = static_cast<std::uint8_t>(length);
  header.ifa_index = static_cast<std::uint32_t>(index);
  begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof header,
        cat("add address ", address.to_string(), " to interface ", index));
  attribute(IFA_LOCAL, address);
  attribute(IFA_ADDRESS, address);
  attribute_u32(IFA_FLAGS, address.is_v4() ? IFA_F_PERMANENT : IFA_F_PERMANENT | IFA_F_NODAD);
}

void Netlink::add_spare_address(int index, const net::Ip& address) {
  ifaddrmsg header{};
  header.ifa_family = family_of(address);
  header.ifa_prefixlen = address.is_v4() ? 32 : 128;
  header.ifa_index = static_cast<std::uint32_t>(index);
  begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof header,
        cat("add spare address ", address.to_string(), " to interface ", index));
  attribute(IFA_LOCAL, address);
  attribute(IFA_ADDRESS, address);
  if (address.is_v4()) return;
  const std::uint32_t forever = ~0U;
  const ifa_cacheinfo lifetimes{.ifa_prefered = 0, .ifa_valid = forever, .cstamp = 0, .tstamp = 0};
  attribute_u32(IFA_FLAGS, IFA_F_NODAD);
  attribute(IFA_CACHEINFO, &lifetimes, sizeof lifetimes);
}

void Netlink::delete_address(int index, const net::Ip& address, int length) {
  ifaddrmsg header{};
  header.ifa_family = family_of(address);
  header.ifa_prefixlen = static_cast<std::uint8_t>(length);
  header.ifa_index = static_cast<std::uint32_t>(index);
  begin(RTM_DELADDR, 0, &header, sizeof header, cat("delete address ", address.to_string(), " from interface ", index));
  attribute(IFA_LOCAL, address);
}

void Netlink::put_route(std::uint16_t type, std::uint16_t flags, const Route& route) {
  rtmsg header{};
  header.rtm_family = family_of(route.to.address);
  header.rtm_dst_len = route.to.length;
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_protocol = RTPROT_STATIC;
  header.rtm_scope = route.via || route.blackhole ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  header.rtm_type = route.blackhole ? RTN_BLACKHOLE : RTN_UNICAST;
  if (type == RTM_DELROUTE) header.rtm_scope = RT_SCOPE_NOWHERE;
  begin(type, flags, &header, sizeof header,
        cat(type == RTM_DELROUTE ? "delete" : "add", " route ", route.to.to_string(), " via ",
            route.via ? route.via->to_string() : "link"));
  if (route.to.length > 0) attribute(RTA_DST, route.to.address);
  if (route.via) attribute(RTA_GATEWAY, *route.via);
  if (route.interface_index != 0) attribute_u32(RTA_OIF, static_cast<std::uint32_t>(route.interface_index));
  if (route.source) attribute(RTA_PREFSRC, *route.source);
}

void Netlink::add_route(const Route& route) { put_route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, route); }
void Netlink::delete_route(const Route& route) { put_route(RTM_DELROUTE, 0, route); }

void Netlink::add_neighbour(int index, const net::Ip& address, const Mac& mac) {
  ndmsg header{};
  header.ndm_family = family_of(address);
  header.ndm_ifindex = index;
  header.ndm_state = NUD_PERMANENT;
  begin(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &header, sizeof header, cat("add neighbour ", address.to_string()));
  attribute(NDA_DST, address);
  attribute(NDA_LLADDR, mac.data(), mac.size());
}

Status Netlink::commit() {
  if (batch_.empty()) return {};
  finish();
  const std::vector<std::string> what = std::exchange(batch_, {});
  const std::vector<std::uint8_t> request = std::exchange(buffer_, {});
  const std::uint32_t first = sequence_ + 1 - static_cast<std::uint32_t>(what.size());
  if (::send(socket_.get(), request.data(), request.size(), 0) < 0) return Error::from_errno("netlink send", errno);
  Status status;
  std::size_t acknowledged = 0;
  std::array<char, 32768> answer{};
  while (acknowledged < what.size()) {
    const ssize_t size = ::recv(socket_.get(), answer.data(), answer.size(), 0);
    if (size < 0) return Error::from_errno(cat("netlink answer to ", what[acknowledged]), errno);
    auto left = static_cast<unsigned>(size);
    for (auto* message = reinterpret_cast<nlmsghdr*>(answer.data()); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_type != NLMSG_ERROR) continue;
      ++acknowledged;
      const auto* result = static_cast<const nlmsgerr*>(NLMSG_DATA(message));
      const std::size_t index = message->nlmsg_seq - first;
      if (result->error != 0 && status && index < what.size()) status = Error::from_errno(what[index], -result->error);
    }
  }
  return status;
}

Result<int> Netlink::operational_state(int index) {
  begin_link(RTM_GETLINK, 0, index, 0, cat("get interface ", index));
  finish();
  batch_.clear();
  auto* message = reinterpret_cast<nlmsghdr*>(buffer_.data());
  message->nlmsg_flags = NLM_F_REQUEST;
  const std::vector<std::uint8_t> request = std::exchange(buffer_, {});
  if (::send(socket_.get(), request.data(), request.size(), 0) < 0) return Error::from_errno("netlink send", errno);
  std::array<char, 32768> answer{};
  const ssize_t size = ::recv(socket_.get(), answer.data(), answer.size(), 0);
  if (size < 0) return Error::from_errno("netlink answer", errno);
  message = reinterpret_cast<nlmsghdr*>(answer.data());
  if (message->nlmsg_type == NLMSG_ERROR) {
    return Error::from_errno(cat("interface ", index), -static_cast<const nlmsgerr*>(NLMSG_DATA(message))->error);
  }
  auto left = static_cast<unsigned>(message->nlmsg_len - NLMSG_LENGTH(sizeof(ifinfomsg)));
  for (auto* attr = reinterpret_cast<rtattr*>(static_cast<char*>(NLMSG_DATA(message)) + NLMSG_ALIGN(sizeof(ifinfomsg)));
       RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
    if (attr->rta_type == IFLA_OPERSTATE) return static_cast<int>(*static_cast<const std::uint8_t*>(RTA_DATA(attr)));
  }
  return Error(cat("interface ", index, " has no operational state"));
}

}  // namespace fairlead::testbed
