#include "cni-plugin/flows.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <set>
#include <utility>

#include "cni-plugin/host_route.h"
#include "net/netlink_message.h"
#include "net/nft/client.h"

namespace fairlead::cni {
namespace {

using net::netlink_attribute;
using net::NetlinkMessage;

// Bits of CTA_FILTER_ORIG_FLAGS, which the uapi headers do not have (linux v6.1 net/netfilter/nf_internals.h).
constexpr std::uint32_t kFilterProtocol = 1U << 3;
constexpr std::uint32_t kFilterDestinationPort = 1U << 5;
constexpr std::size_t kAtOnce = 200;  // deletions in one write: their acknowledgements fit the socket's buffer

std::uint16_t nested(int type) { return static_cast<std::uint16_t>(type | NLA_F_NESTED); }

NetlinkMessage message(std::uint16_t type, std::uint16_t flags, net::Family family) {
  NetlinkMessage out(static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type), flags);
  out.header(nfgenmsg{.nfgen_family = static_cast<std::uint8_t>(family == net::Family::V4 ? AF_INET : AF_INET6),
                      .version = NFNETLINK_V0,
                      .res_id = 0});
  return out;
}

// Kernels before 5.8 overlook the filter and tell everything, so the answers are looked at all the same.
NetlinkMessage question(net::Family family, std::optional<std::uint16_t> port) {
  NetlinkMessage out = message(IPCTNL_MSG_CT_GET, NLM_F_DUMP, family);
  out.nest(nested(CTA_FILTER), [&](NetlinkMessage& filter) {
    filter.value(CTA_FILTER_ORIG_FLAGS, kFilterProtocol | (port ? kFilterDestinationPort : 0));
  });
  out.nest(nested(CTA_TUPLE_ORIG), [&](NetlinkMessage& tuple) {
    tuple.nest(nested(CTA_TUPLE_PROTO), [&](NetlinkMessage& protocol) {
      protocol.value(CTA_PROTO_NUM, std::uint8_t{IPPROTO_UDP});
      if (port) protocol.be16(CTA_PROTO_DST_PORT, *port);
    });
  });
  return out;
}

net::Ip address_in(std::string_view tuple, net::Family family, std::uint16_t v4, std::uint16_t v6) {
  const std::string_view addresses = netlink_attribute(tuple, CTA_TUPLE_IP);
  if (family == net::Family::V4) {
    return net::Ip::from_v4_be(net::netlink_value<std::uint32_t>(netlink_attribute(addresses, v4)));
  }
  return net::Ip::from_bytes(net::netlink_value<std::array<std::uint8_t, 16>>(netlink_attribute(addresses, v6)));
}

std::optional<UdpFlow> flow_in(std::string_view body, net::Family family) {
  if (body.size() < sizeof(nfgenmsg)) return std::nullopt;
  const std::string_view attributes = body.substr(sizeof(nfgenmsg));
  const std::string_view sent = netlink_attribute(attributes, CTA_TUPLE_ORIG);
  const std::string_view answered = netlink_attribute(attributes, CTA_TUPLE_REPLY);
  const std::string_view protocol = netlink_attribute(sent, CTA_TUPLE_PROTO);
  if (net::netlink_value<std::uint8_t>(netlink_attribute(protocol, CTA_PROTO_NUM)) != IPPROTO_UDP) return std::nullopt;
  return UdpFlow{
      .destination = address_in(sent, family, CTA_IP_V4_DST, CTA_IP_V6_DST),
      .port = ntohs(net::netlink_value<std::uint16_t>(netlink_attribute(protocol, CTA_PROTO_DST_PORT))),
      .answers_from = address_in(answered, family, CTA_IP_V4_SRC, CTA_IP_V6_SRC),
      .tuple = std::string(sent),
      .zone = std::string(netlink_attribute(attributes, CTA_ZONE)),
  };
}

NetlinkMessage deletion(net::Family family, const UdpFlow& flow) {
  NetlinkMessage out = message(IPCTNL_MSG_CT_DELETE, 0, family);
  out.attribute(nested(CTA_TUPLE_ORIG), flow.tuple);
  if (!flow.zone.empty()) out.attribute(CTA_ZONE, flow.zone);
  return out;
}

using Ends = std::function<bool(const UdpFlow&, const UdpPort&)>;

Status end_flows_of(net::NetlinkSocket& socket, net::Family family, const std::vector<UdpPort>& ports,
                    const Ends& ends) {
  std::set<std::uint16_t> numbers;
  for (const UdpPort& port : ports) {
    if (port.family == family) numbers.insert(port.host_port);
  }
  if (numbers.empty()) return {};
  const auto one = numbers.size() == 1 ? std::optional(*numbers.begin()) : std::nullopt;
  std::vector<NetlinkMessage> deletions;
  for (const std::string& body : TRY(socket.ask(question(family, one)))) {
    const auto flow = flow_in(body, family);
    if (!flow) continue;
    const bool goes = std::any_of(ports.begin(), ports.end(),
                                  [&](const UdpPort& port) { return port.family == family && ends(*flow, port); });
    if (goes) deletions.push_back(deletion(family, *flow));
  }
  for (std::size_t at = 0; at < deletions.size(); at += kAtOnce) {
    const auto from = deletions.begin() + static_cast<std::ptrdiff_t>(at);
    const auto count = static_cast<std::ptrdiff_t>(std::min(kAtOnce, deletions.size() - at));
    for (const Status& outcome : TRY(socket.order({from, from + count}))) {
      if (!outcome && outcome.error().errno_value() != ENOENT) return outcome;
    }
  }
  return {};
}

Status end_flows(const std::vector<UdpPort>& ports, const Ends& ends) {
  if (ports.empty()) return {};
  auto socket = TRY(net::NetlinkSocket::open(NETLINK_NETFILTER));
  Status done;
  for (const net::Family family : {net::Family::V4, net::Family::V6}) {
    if (done) done = end_flows_of(socket, family, ports, ends);
  }
  net::nft::close_elsewhere(std::move(socket));
  return done ? done : done.error().with_context("UDP flows");
}

bool is_to(const UdpFlow& flow, const UdpPort& port) {
  return flow.port == port.host_port && flow.destination.family() == port.family &&
         (!port.host_ip || *port.host_ip == flow.destination);
}

}  // namespace

bool is_stale(const UdpFlow& flow, const UdpPort& port, const std::function<bool(const net::Ip&)>& is_local) {
  if (!is_to(flow, port) || flow.answers_from == port.pod) return false;
  return port.host_ip.has_value() || is_local(flow.destination);
}

bool is_served(const UdpFlow& flow, const UdpPort& port) { return is_to(flow, port) && flow.answers_from == port.pod; }

Status end_stale_flows(const std::vector<UdpPort>& ports) {
  std::map<net::Ip, bool> known;
  const auto is_local = [&](const net::Ip& ip) {
    const auto [at, unknown] = known.try_emplace(ip, false);
    if (unknown) {
      const auto route = host_route(ip);
      at->second = route && route->local;
    }
    return at->second;
  };
  return end_flows(ports, [&](const UdpFlow& flow, const UdpPort& port) { return is_stale(flow, port, is_local); });
}

Status end_served_flows(const std::vector<UdpPort>& ports) { return end_flows(ports, is_served); }

}  // namespace fairlead::cni
