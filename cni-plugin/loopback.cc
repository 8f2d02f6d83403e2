// loopback: brings `lo` of the container up, whatever CNI_IFNAME says, and tells its addresses. All it changes lies in
// the container's namespace and goes with it.
#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <array>
#include <utility>

#include "cni-plugin/plugin.h"
#include "net/netlink_message.h"
#include "net/netns.h"

namespace fairlead::cni {
namespace {

constexpr int kLoopbackIndex = 1;  // linux v6.1 net/core/net_namespace.c: loopback is a namespace's first device

net::NetlinkMessage set_lo(bool up) {
  ifinfomsg link{};
  link.ifi_index = kLoopbackIndex;
  link.ifi_flags = up ? IFF_UP : 0;
  link.ifi_change = IFF_UP;
  net::NetlinkMessage message(RTM_NEWLINK, NLM_F_ACK);
  message.header(link);
  return message;
}

Result<bool> is_up(net::NetlinkSocket& socket) {
  ifinfomsg link{};
  link.ifi_index = kLoopbackIndex;
  net::NetlinkMessage question(RTM_GETLINK, 0);
  question.header(link);
  const auto answers = TRY(socket.ask(question));
  return !answers.empty() && (net::netlink_value<ifinfomsg>(answers.front()).ifi_flags & IFF_UP) != 0;
}

// The first address of each family.
Result<std::vector<IpConfig>> addresses(net::NetlinkSocket& socket) {
  net::NetlinkMessage dump(RTM_GETADDR, NLM_F_DUMP);
  dump.header(ifaddrmsg{});
  bool told[2] = {false, false};
  std::vector<IpConfig> ips;
  for (const std::string& body : TRY(socket.ask(dump))) {
    const auto head = net::netlink_value<ifaddrmsg>(body);
    if (head.ifa_index != kLoopbackIndex) continue;
    const auto attributes = std::string_view(body).substr(sizeof head);
    const std::string_view bytes = net::netlink_attribute(attributes, IFA_ADDRESS);
    const bool v4 = head.ifa_family == AF_INET;
    if (bytes.size() != (v4 ? 4U : 16U)) continue;
    const net::Ip ip = v4 ? net::Ip::from_v4_be(net::netlink_value<std::uint32_t>(bytes))
                          : net::Ip::from_bytes(net::netlink_value<std::array<std::uint8_t, 16>>(bytes));
    if (!ip.is_loopback())
      return failure(code::kInternal, "lo has the address ", ip.to_string(), ", which is no loopback address");
    if (!std::exchange(told[v4 ? 0 : 1], true)) ips.push_back({0, {ip, head.ifa_prefixlen}, std::nullopt});
  }
  return ips;
}

// The first addresses of lo, which is up then.
Result<std::vector<IpConfig>> bring_up() {
  auto socket = TRY(net::NetlinkSocket::open(NETLINK_ROUTE));
  TRY(socket.order_all({set_lo(true)}));
  return addresses(socket);
}

Status bring_down() {
  auto socket = TRY(net::NetlinkSocket::open(NETLINK_ROUTE));
  return socket.order_all({set_lo(false)});
}

Status check_up() {
  auto socket = TRY(net::NetlinkSocket::open(NETLINK_ROUTE));
  if (!TRY(is_up(socket))) return failure(code::kInternal, "lo is down");
  return {};
}

Result<NetResult> add(const Call& call, const World&) {
  const net::Netns netns = TRY(net::Netns::open(call.netns));
  NetResult result{{{"lo", "00:00:00:00:00:00", call.netns, 0, "", ""}}, {}, {}, {}};
  Status entered = netns.run([&result]() -> Status {
    result.ips = TRY(bring_up());
    return {};
  });
  if (!entered) return std::move(entered).error();
  // A chain that begins elsewhere keeps what it has.
  return call.previous ? *call.previous : result;
}

Status del(const Call& call, const World&) {
  const auto netns = net::Netns::open(call.netns);
  if (!netns) return {};  // gone, and lo with it
  return netns->run(bring_down);
}

Status check(const Call& call, const World&) {
  const net::Netns netns = TRY(net::Netns::open(call.netns));
  return netns.run(check_up);
}

}  // namespace

const Plugin kLoopback = {
    .name = "loopback",
    .oldest_version = kVersions[0],
    .about = "brings the loopback interface up",
    .leaves_traces = false,
    .add = add,
    .del = del,
    .check = check,
};

}  // namespace fairlead::cni
