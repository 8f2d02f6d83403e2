#include "net/tc.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>

#include <algorithm>
#include <limits>
#include <ostream>

namespace fairlead::net {
namespace {

constexpr std::uint64_t kTick = 64;  // ns; linux v6.1 include/net/pkt_sched.h PSCHED_SHIFT
constexpr std::uint64_t kMicroseconds = 1'000'000;
constexpr std::uint32_t kRootHandle = TC_H_MAKE(1U << 16, 0U);
constexpr std::uint32_t kIngressHandle = TC_H_MAKE(TC_H_INGRESS, 0U);
// Names the received packets of an ingress qdisc and of clsact alike.
constexpr std::uint32_t kReceived = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
constexpr std::uint32_t kFirst = 1U << 16;  // of tcm_info: the filter's priority

std::uint32_t narrowed(unsigned __int128 value) {
  constexpr std::uint32_t kMost = std::numeric_limits<std::uint32_t>::max();
  return value > kMost ? kMost : static_cast<std::uint32_t>(value);
}

tcmsg head(std::uint32_t link, std::uint32_t parent) {
  tcmsg out{};
  out.tcm_family = AF_UNSPEC;
  out.tcm_ifindex = static_cast<int>(link);
  out.tcm_parent = parent;
  return out;
}

tcmsg redirect_head(std::uint32_t link) {
  tcmsg out = head(link, kReceived);
  out.tcm_info = kFirst | htons(ETH_P_ALL);
  return out;
}

std::string_view kind(std::string_view attributes) {
  const std::string_view text = netlink_attribute(attributes, TCA_KIND);
  return text.substr(0, text.find('\0'));
}

// One key that compares no bit. The key is the selector's flexible array member.
std::string every_packet() {
  tc_u32_sel selector{};
  selector.flags = TC_U32_TERMINAL;
  selector.nkeys = 1;
  std::string out(reinterpret_cast<const char*>(&selector), sizeof selector);
  out.append(sizeof(tc_u32_key), '\0');
  return out;
}

bool takes_every_packet(std::string_view options) {
  const std::string_view selector = netlink_attribute(options, TCA_U32_SEL);
  if (selector.size() < sizeof(tc_u32_sel)) return false;
  std::string_view keys = selector.substr(sizeof(tc_u32_sel));
  for (; keys.size() >= sizeof(tc_u32_key); keys.remove_prefix(sizeof(tc_u32_key))) {
    if (netlink_value<tc_u32_key>(keys).mask != 0) return false;
  }
  return true;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const TokenBucket& bucket) {
  return out << bucket.rate << " B/s, buffer " << bucket.buffer << " ticks, limit " << bucket.limit << " B";
}

TokenBucket token_bucket(std::uint64_t rate, std::uint64_t burst, std::uint32_t latency) {
  using Wide = unsigned __int128;
  // Whole microseconds first, as tc and the reference plugin compute it, so that their checks find the same number.
  const Wide lasts = Wide{burst} * kMicroseconds / rate;
  return {.rate = rate,
          .buffer = narrowed(lasts * 1000 / kTick),
          .limit = narrowed(Wide{rate} * latency / kMicroseconds + burst)};
}

NetlinkMessage replace_token_bucket(std::uint32_t link, const TokenBucket& bucket) {
  tcmsg root = head(link, TC_H_ROOT);
  root.tcm_handle = kRootHandle;
  tc_tbf_qopt options{};
  options.rate.rate = narrowed(bucket.rate);
  options.limit = bucket.limit;
  options.buffer = bucket.buffer;
  NetlinkMessage message(RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
  message.header(root).text(TCA_KIND, "tbf").nest(TCA_OPTIONS, [&](NetlinkMessage& m) {
    m.value(TCA_TBF_PARMS, options);
    if (bucket.rate > options.rate.rate) m.value(TCA_TBF_RATE64, bucket.rate);
  });
  return message;
}

NetlinkMessage add_ingress(std::uint32_t link) {
  tcmsg ingress = head(link, TC_H_INGRESS);
  ingress.tcm_handle = kIngressHandle;
  NetlinkMessage message(RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  message.header(ingress).text(TCA_KIND, "ingress");
  return message;
}

// u32 and not matchall: it is in every kernel that limits bandwidth today, because the reference plugin needs it.
NetlinkMessage add_ingress_redirect(std::uint32_t link, std::uint32_t to) {
  tc_mirred mirred{};
  mirred.action = TC_ACT_STOLEN;
  mirred.eaction = TCA_EGRESS_REDIR;
  mirred.ifindex = to;
  NetlinkMessage message(RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  message.header(redirect_head(link)).text(TCA_KIND, "u32").nest(TCA_OPTIONS, [&](NetlinkMessage& options) {
    options.attribute(TCA_U32_SEL, every_packet()).nest(TCA_U32_ACT, [&](NetlinkMessage& actions) {
      actions.nest(1, [&](NetlinkMessage& action) {
        action.text(TCA_ACT_KIND, "mirred").nest(TCA_ACT_OPTIONS, [&](NetlinkMessage& m) {
          m.value(TCA_MIRRED_PARMS, mirred);
        });
      });
    });
  });
  return message;
}

NetlinkMessage delete_ingress_redirect(std::uint32_t link) {
  NetlinkMessage message(RTM_DELTFILTER, NLM_F_ACK);
  message.header(redirect_head(link)).text(TCA_KIND, "u32");
  return message;
}

Result<std::vector<TokenBucket>> list_token_buckets(NetlinkSocket& socket, std::uint32_t link) {
  NetlinkMessage message(RTM_GETQDISC, NLM_F_DUMP);
  message.header(head(link, 0));
  std::vector<TokenBucket> found;
  for (const std::string& body : TRY(socket.ask(message))) {
    const auto qdisc = netlink_value<tcmsg>(body);
    const auto attributes = std::string_view(body).substr(std::min(body.size(), sizeof qdisc));
    // Kernels differ in whether a dump heeds the index.
    if (qdisc.tcm_ifindex != static_cast<int>(link) || qdisc.tcm_parent != TC_H_ROOT || kind(attributes) != "tbf")
      continue;
    const std::string_view options = netlink_attribute(attributes, TCA_OPTIONS);
    const auto parameters = netlink_value<tc_tbf_qopt>(netlink_attribute(options, TCA_TBF_PARMS));
    const std::string_view wide = netlink_attribute(options, TCA_TBF_RATE64);
    found.push_back({.rate = wide.empty() ? parameters.rate.rate : netlink_value<std::uint64_t>(wide),
                     .buffer = parameters.buffer,
                     .limit = parameters.limit});
  }
  return found;
}

Result<std::vector<std::uint32_t>> list_ingress_redirects(NetlinkSocket& socket, std::uint32_t link) {
  NetlinkMessage message(RTM_GETTFILTER, NLM_F_DUMP);
  message.header(head(link, kReceived));
  std::vector<std::uint32_t> found;
  for (const std::string& body : TRY(socket.ask(message))) {
    const auto attributes = std::string_view(body).substr(std::min(body.size(), sizeof(tcmsg)));
    const auto filter = netlink_value<tcmsg>(body);
    const std::string_view options = netlink_attribute(attributes, TCA_OPTIONS);
    if (kind(attributes) != "u32" || (filter.tcm_info & 0xffffU) != htons(ETH_P_ALL) || !takes_every_packet(options))
      continue;
    for_each_netlink_attribute(netlink_attribute(options, TCA_U32_ACT), [&](std::uint16_t, std::string_view action) {
      const auto parameters =
          netlink_value<tc_mirred>(netlink_attribute(netlink_attribute(action, TCA_ACT_OPTIONS), TCA_MIRRED_PARMS));
      if (parameters.eaction == TCA_EGRESS_REDIR && parameters.ifindex != 0) found.push_back(parameters.ifindex);
    });
  }
  return found;
}

}  // namespace fairlead::net
