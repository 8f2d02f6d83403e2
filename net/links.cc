#include "net/links.h"

#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <netlink/cache.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace fairlead::net {
namespace {

struct FreeSocket {
  void operator()(nl_sock* socket) const { ::nl_socket_free(socket); }
};
struct FreeCache {
  void operator()(nl_cache* cache) const { ::nl_cache_free(cache); }
};
struct FreeMessage {
  void operator()(nl_msg* message) const { ::nlmsg_free(message); }
};
using SocketPtr = std::unique_ptr<nl_sock, FreeSocket>;
using CachePtr = std::unique_ptr<nl_cache, FreeCache>;
using MessagePtr = std::unique_ptr<nl_msg, FreeMessage>;

Error nl_error(std::string_view what, int code) {
  return Error(std::string(what).append(": ").append(::nl_geterror(code)));
}

Result<SocketPtr> connect_rtnetlink() {
  SocketPtr socket(::nl_socket_alloc());
  if (!socket) return Error("allocate a netlink socket");
  if (const int rc = ::nl_connect(socket.get(), NETLINK_ROUTE); rc < 0) return nl_error("open rtnetlink", rc);
  return socket;
}

Ip to_ip(const nl_addr* address) {
  const void* bytes = ::nl_addr_get_binary_addr(address);
  if (::nl_addr_get_family(address) == AF_INET) {
    std::uint32_t v4 = 0;
    std::memcpy(&v4, bytes, sizeof v4);
    return Ip::from_v4_be(v4);
  }
  std::array<std::uint8_t, 16> v6{};
  std::memcpy(v6.data(), bytes, v6.size());
  return Ip::from_bytes(v6);
}

Result<std::vector<Link>> dump_links(nl_sock* socket) {
  nl_cache* raw = nullptr;
  if (const int rc = ::rtnl_link_alloc_cache(socket, AF_UNSPEC, &raw); rc < 0) return nl_error("list interfaces", rc);
  const CachePtr cache(raw);
  std::vector<Link> links;
  for (nl_object* o = ::nl_cache_get_first(raw); o != nullptr; o = ::nl_cache_get_next(o)) {
    auto* link = reinterpret_cast<rtnl_link*>(o);
    const char* name = ::rtnl_link_get_name(link);
    links.push_back({.index = static_cast<std::uint32_t>(::rtnl_link_get_ifindex(link)),
                     .name = name != nullptr ? name : "",
                     .loopback = (::rtnl_link_get_flags(link) & IFF_LOOPBACK) != 0,
                     .ethernet = ::rtnl_link_get_arptype(link) == ARPHRD_ETHER,
                     .master = static_cast<std::uint32_t>(std::max(0, ::rtnl_link_get_master(link))),
                     .master_kind = {},
                     .mtu = ::rtnl_link_get_mtu(link)});
  }
  for (Link& link : links) {
    if (link.master == 0) continue;
    const std::unique_ptr<rtnl_link, void (*)(rtnl_link*)> master(::rtnl_link_get(raw, static_cast<int>(link.master)),
                                                                  &::rtnl_link_put);
    const char* kind = master ? ::rtnl_link_get_type(master.get()) : nullptr;
    if (kind != nullptr) link.master_kind = kind;
  }
  std::sort(links.begin(), links.end(), [](const Link& a, const Link& b) { return a.index < b.index; });
  return links;
}

Result<std::vector<LocalAddress>> dump_addresses(nl_sock* socket) {
  nl_cache* raw = nullptr;
  if (const int rc = ::rtnl_addr_alloc_cache(socket, &raw); rc < 0) return nl_error("list addresses", rc);
  const CachePtr cache(raw);
  std::vector<LocalAddress> addresses;
  for (nl_object* o = ::nl_cache_get_first(raw); o != nullptr; o = ::nl_cache_get_next(o)) {
    auto* address = reinterpret_cast<rtnl_addr*>(o);
    const nl_addr* local = ::rtnl_addr_get_local(address);
    if (local == nullptr) continue;
    if (::nl_addr_get_family(local) != AF_INET && ::nl_addr_get_family(local) != AF_INET6) continue;
    addresses.push_back({.address = to_ip(local),
                         .link = static_cast<std::uint32_t>(::rtnl_addr_get_ifindex(address)),
                         .global = ::rtnl_addr_get_scope(address) < RT_SCOPE_LINK});
  }
  std::stable_sort(addresses.begin(), addresses.end(),
                   [](const LocalAddress& a, const LocalAddress& b) { return a.link < b.link; });
  return addresses;
}

int read_route(nl_msg* message, void* out) {
  nlattr* attributes[RTA_MAX + 1] = {};
  if (::nlmsg_parse(::nlmsg_hdr(message), sizeof(rtmsg), attributes, RTA_MAX, nullptr) < 0) return NL_SKIP;
  const nlattr* source = attributes[RTA_PREFSRC];
  auto* found = static_cast<std::optional<Ip>*>(out);
  if (source != nullptr && ::nla_len(source) == 4) {
    std::uint32_t v4 = 0;
    std::memcpy(&v4, ::nla_data(source), sizeof v4);
    *found = Ip::from_v4_be(v4);
  } else if (source != nullptr && ::nla_len(source) == 16) {
    std::array<std::uint8_t, 16> v6{};
    std::memcpy(v6.data(), ::nla_data(source), v6.size());
    *found = Ip::from_bytes(v6);
  }
  return NL_OK;
}

}  // namespace

Result<Links> list_links() {
  const SocketPtr socket = TRY(connect_rtnetlink());
  Links all;
  all.links = TRY(dump_links(socket.get()));
  all.addresses = TRY(dump_addresses(socket.get()));
  return all;
}

Result<std::vector<Ip>> local_addresses() {
  std::vector<Ip> out;
  for (const LocalAddress& local : TRY(list_links()).addresses) out.push_back(local.address);
  return out;
}

Result<std::optional<Ip>> default_source(Family family) {
  // Asks for a route to an address that nothing but a default route serves: 192.0.0.8 (RFC 7600, the IPv4 dummy
  // address) and 2001:db8::1 (RFC 3849). One message, however long the routing table is.
  const SocketPtr socket = TRY(connect_rtnetlink());
  const Ip probe = TRY(Ip::parse(family == Family::V4 ? "192.0.0.8" : "2001:db8::1"));
  rtmsg request{};
  request.rtm_family = family == Family::V4 ? AF_INET : AF_INET6;
  request.rtm_dst_len = family == Family::V4 ? 32 : 128;
  const MessagePtr message(::nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_REQUEST));
  if (!message) return Error("allocate a netlink message");
  const std::size_t skip = family == Family::V4 ? 12 : 0;
  ::nlmsg_append(message.get(), &request, sizeof request, NLMSG_ALIGNTO);
  ::nla_put(message.get(), RTA_DST, static_cast<int>(16 - skip), probe.bytes().data() + skip);
  std::optional<Ip> found;
  ::nl_socket_modify_cb(socket.get(), NL_CB_VALID, NL_CB_CUSTOM, &read_route, &found);
  if (const int rc = ::nl_send_auto(socket.get(), message.get()); rc < 0) return nl_error("ask for the route", rc);
  // An error here is the kernel saying that there is no route.
  if (::nl_recvmsgs_default(socket.get()) < 0) return std::optional<Ip>();
  return found;
}

struct LinkWatch::Socket {
  SocketPtr nl;
};

LinkWatch::LinkWatch(std::unique_ptr<Socket> socket) : socket_(std::move(socket)) {}
LinkWatch::LinkWatch(LinkWatch&&) noexcept = default;
LinkWatch& LinkWatch::operator=(LinkWatch&&) noexcept = default;
LinkWatch::~LinkWatch() = default;

Result<LinkWatch> LinkWatch::open() {
  auto socket = std::make_unique<Socket>(Socket{TRY(connect_rtnetlink())});
  ::nl_socket_disable_seq_check(socket->nl.get());
  if (const int rc = ::nl_socket_add_memberships(socket->nl.get(), RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
                                                 RTNLGRP_IPV6_IFADDR, RTNLGRP_NONE);
      rc < 0) {
    return nl_error("subscribe to interface changes", rc);
  }
  return LinkWatch(std::move(socket));
}

int LinkWatch::fd() const { return ::nl_socket_get_fd(socket_->nl.get()); }

Status LinkWatch::drain() {
  char buffer[8192];  // contents do not matter, so a truncated message does not either
  for (;;) {
    const ssize_t got = ::recv(fd(), buffer, sizeof buffer, MSG_DONTWAIT | MSG_TRUNC);
    if (got >= 0 || errno == EINTR || errno == ENOBUFS) continue;  // ENOBUFS: messages were lost; we look again anyway
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {};
    return Error::from_errno("read rtnetlink", errno);
  }
}

}  // namespace fairlead::net
