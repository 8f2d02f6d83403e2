// bandwidth: what a pod receives waits in a token bucket at the root of its veth's host end; what it sends is
// redirected as it arrives there to an ifb of its own, and waits in that link's token bucket.
#include <linux/netlink.h>
#include <net/if.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/strings.h"
#include "cni-plugin/fields.h"
#include "cni-plugin/host_link.h"
#include "cni-plugin/marks.h"
#include "cni-plugin/plugin.h"
#include "net/netns.h"
#include "net/rtnl.h"
#include "net/tc.h"

namespace fairlead::cni {
namespace {

using base::cat;

constexpr std::uint32_t kLatency = 25'000;  // microseconds; the reference plugin's
constexpr std::string_view kIfb = "ifb";
constexpr std::string_view kIfbPrefix = "bwp";  // the reference plugin's too

// Bits per second and bits; both 0: no limit.
struct Limit {
  std::uint64_t rate = 0;
  std::uint64_t burst = 0;
  explicit operator bool() const { return rate != 0; }
  net::TokenBucket bucket() const { return net::token_bucket(rate / 8, burst / 8, kLatency); }
};

struct Bandwidth {
  Limit ingress;  // towards the pod
  Limit egress;
};

Result<Limit> read_limit(const Fields& fields, std::string_view rate_key, std::string_view burst_key) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  constexpr std::uint64_t kMostBurst = std::numeric_limits<std::uint32_t>::max();  // bytes
  const Limit limit{.rate = static_cast<std::uint64_t>(TRY(fields.integer(rate_key, 0, kMost)).value_or(0)),
                    .burst = static_cast<std::uint64_t>(TRY(fields.integer(burst_key, 0, kMost)).value_or(0))};
  if (limit.rate != 0 && limit.burst == 0)
    return fields.error(burst_key, cat("must be set where ", rate_key, " is (", limit.rate, ")"));
  if (limit.burst != 0 && limit.rate == 0)
    return fields.error(rate_key, cat("must be set where ", burst_key, " is (", limit.burst, ")"));
  if (limit.rate != 0 && limit.rate < 8)
    return fields.error(rate_key, cat(limit.rate, " is less than a byte per second; allowed is 8 bit/s and more"));
  if (limit.burst / 8 >= kMostBurst)
    return fields.error(burst_key, cat(limit.burst, " bits is too much; allowed is less than 4 GiB"));
  return limit;
}

// Any limit among the configuration's own members hides the runtime's: the reference plugin embeds the one and looks
// into the other when it is not there.
Result<Bandwidth> read_bandwidth(const Call& call) {
  constexpr std::string_view kKeys[] = {"ingressRate", "ingressBurst", "egressRate", "egressBurst"};
  const Fields config = TRY(Fields::of(call.config));
  const bool own = std::any_of(std::begin(kKeys), std::end(kKeys), [&](auto key) { return config.has(key); });
  const Fields runtime = TRY(config.object("runtimeConfig"));
  const Fields fields = own ? config : TRY(runtime.object("bandwidth"));
  return Bandwidth{.ingress = TRY(read_limit(fields, kKeys[0], kKeys[1])),
                   .egress = TRY(read_limit(fields, kKeys[2], kKeys[3]))};
}

// Of the attachment, its interface's name included: a pod may have two.
std::string ifb_name(const Attachment& attachment) { return cat(kIfbPrefix, digest(attachment).substr(0, 12)); }

// The host end of the pod's veth, which must be among prevResult's interfaces.
Result<net::LinkInfo> host_end(const Call& call, net::Rtnl& host) {
  const net::Netns pod = TRY(net::Netns::open(call.netns));
  const std::string& ifname = call.attachment.ifname;
  std::uint32_t peer = 0;
  Status looked = pod.run([&]() -> Status {
    net::Rtnl inside = TRY(net::Rtnl::open());
    const net::LinkInfo link = TRY(inside.link(ifname));
    if (link.kind != "veth") return Error(cat(ifname, " is no veth: it has no other end to limit"));
    peer = link.peer;
    return {};
  });
  TRY(std::move(looked));
  const auto found = TRY(host.find_link(peer));
  const auto& interfaces = call.previous->interfaces;
  if (found && found->kind == "veth" && std::any_of(interfaces.begin(), interfaces.end(), [&](const Interface& i) {
        return i.sandbox.empty() && i.name == found->name;
      }))
    return *found;
  return Error(cat("the other end of ", ifname, " is not among the host's interfaces of prevResult"));
}

// Not up yet where it is new.
Result<net::LinkInfo> make_ifb(net::Rtnl& host, const Attachment& attachment, const net::LinkInfo& like) {
  const std::string name = ifb_name(attachment);
  const auto found = TRY(host.find_link(name));
  if (found && found->kind != kIfb) return Error(cat(name, " is in the way: a link of kind \"", found->kind, "\""));
  std::vector<net::NetlinkMessage> messages;
  if (found) {
    messages.push_back(net::change_link(
        {.name = name, .alias = link_alias(attachment), .mtu = like.mtu, .tx_queue_len = like.tx_queue_len}));
  } else {
    messages = net::create_link({.name = name,
                                 .kind = std::string(kIfb),
                                 .alias = link_alias(attachment),
                                 .mtu = like.mtu,
                                 .tx_queue_len = like.tx_queue_len});
  }
  const std::size_t needed = messages.size();
  messages.push_back(net::stay_silent(name));  // without IPv6 it is anyway
  auto outcomes = TRY(host.socket().order(messages));
  outcomes.resize(needed);
  for (Status& outcome : outcomes) TRY_CONTEXT(std::move(outcome), cat("set up ", name));
  return host.link(name);
}

// The kernel waits for a grace period of RCU when it changes the qdisc of a link that is up and has one (linux v6.1
// net/sched/sch_generic.c dev_deactivate_many). So the ifb gets its bucket before it comes up.
Status limit_egress(net::Rtnl& host, const net::LinkInfo& pod, const net::LinkInfo& ifb, const Limit& limit) {
  // Taken away first: a redirect that an earlier ADD left may lead to an ifb that is gone.
  auto outcomes = TRY(
      host.socket().order({net::replace_token_bucket(ifb.index, limit.bucket()),
                           net::change_link({.index = ifb.index, .up = true}), net::add_ingress(pod.index),
                           net::delete_ingress_redirect(pod.index), net::add_ingress_redirect(pod.index, ifb.index)}));
  TRY(std::move(outcomes[0]));
  TRY(std::move(outcomes[1]));
  if (!outcomes[2] && outcomes[2].error().errno_value() != EEXIST) return std::move(outcomes[2]);
  return std::move(outcomes[4]);
}

Result<NetResult> add(const Call& call, const World&) {
  const Bandwidth bandwidth = TRY(read_bandwidth(call));
  if (!call.previous)
    return failure(code::kInvalidConfig, "bandwidth: must be called as a chained plugin: no prevResult");
  NetResult result = *call.previous;
  if (!bandwidth.ingress && !bandwidth.egress) return result;
  net::Rtnl host = TRY(net::Rtnl::open());
  const net::LinkInfo pod = TRY(host_end(call, host));
  if (bandwidth.egress) {
    const net::LinkInfo ifb = TRY(make_ifb(host, call.attachment, pod));
    TRY_CONTEXT(limit_egress(host, pod, ifb, bandwidth.egress), cat("limit ", pod.name, " by ", ifb.name));
    Interface& interface = result.interfaces.emplace_back();
    interface.name = ifb.name;
    interface.mac = net::to_string(ifb.mac);
  }
  if (bandwidth.ingress) {
    TRY_CONTEXT(host.order({net::replace_token_bucket(pod.index, bandwidth.ingress.bucket())}),
                cat("limit ", pod.name));
  }
  return result;
}

Status delete_ifb(net::Rtnl& host, const std::string& name) {
  const auto found = TRY(host.find_link(name));
  if (!found || found->kind != kIfb) return {};
  TRY_CONTEXT(remove_link(found->index), cat("delete ", name));
  return {};
}

// The veth takes its qdiscs with it. prevResult names the ifb of a pod that another implementation set up.
Status del(const Call& call, const World&) {
  net::Rtnl host = TRY(net::Rtnl::open());
  TRY(delete_ifb(host, ifb_name(call.attachment)));
  if (!call.previous) return {};
  for (const Interface& interface : call.previous->interfaces) {
    if (interface.sandbox.empty() && interface.name.starts_with(kIfbPrefix)) TRY(delete_ifb(host, interface.name));
  }
  return {};
}

Status check_bucket(net::Rtnl& host, const net::LinkInfo& link, const Limit& limit) {
  const auto buckets = TRY(net::list_token_buckets(host.socket(), link.index));
  if (buckets.empty()) return Error(cat(link.name, ": no tbf qdisc at its root"));
  const net::TokenBucket wanted = limit.bucket(), &has = buckets.front();
  if (has != wanted)
    return Error(cat(link.name, ": tbf has rate ", has.rate, " B/s, buffer ", has.buffer, ", limit ", has.limit,
                     "; wanted are ", wanted.rate, ", ", wanted.buffer, ", ", wanted.limit));
  return {};
}

Status check(const Call& call, const World&) {
  const Bandwidth bandwidth = TRY(read_bandwidth(call));
  if (!call.previous)
    return failure(code::kInvalidConfig, "bandwidth: must be called as a chained plugin: no prevResult");
  if (!bandwidth.ingress && !bandwidth.egress) return {};
  net::Rtnl host = TRY(net::Rtnl::open());
  const net::LinkInfo pod = TRY(host_end(call, host));
  if (bandwidth.ingress) TRY(check_bucket(host, pod, bandwidth.ingress));
  if (!bandwidth.egress) return {};
  const net::LinkInfo ifb = TRY(host.link(ifb_name(call.attachment)));
  if (ifb.kind != kIfb || (ifb.flags & IFF_UP) == 0) return Error(cat(ifb.name, ": not an ifb that is up"));
  TRY(check_bucket(host, ifb, bandwidth.egress));
  const auto redirects = TRY(net::list_ingress_redirects(host.socket(), pod.index));
  if (std::find(redirects.begin(), redirects.end(), ifb.index) == redirects.end())
    return Error(cat(pod.name, ": what it receives is not redirected to ", ifb.name));
  return {};
}

}  // namespace

const Plugin kBandwidth = {.name = "bandwidth",
                           .oldest_version = "0.3.0",
                           .about = "CNI bandwidth plugin: limits what a pod receives and sends",
                           .add = add,
                           .del = del,
                           .check = check};

}  // namespace fairlead::cni
