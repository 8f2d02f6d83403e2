#include "cni-plugin/host_link.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/beside.h"
#include "base/strings.h"
#include "cni-plugin/container_link.h"
#include "cni-plugin/lifecycle.h"
#include "cni-plugin/marks.h"
#include "net/netlink_message.h"

namespace fairlead::cni {
namespace {

using base::cat;
using std::chrono::milliseconds;

constexpr unsigned kNames = 8;  // of 44 bits each: a second one is never needed but by malice
constexpr milliseconds kRemoval{500};
constexpr milliseconds kComingUp{2000};
constexpr std::uint8_t kOperUp = 6;  // IF_OPER_UP, linux v6.1 include/uapi/linux/if.h

struct HostName {
  std::string name;
  std::optional<net::LinkInfo> ours;  // who has it already
};

// The first name that nobody has, or that we have.
Result<HostName> host_name(net::Rtnl& host, const Attachment& attachment) {
  const std::string alias = link_alias(attachment);
  for (unsigned attempt = 0; attempt < kNames; ++attempt) {
    std::string name = host_link_name(attachment, attempt);
    auto link = TRY(host.find_link(name));
    if (!link || link->alias == alias) return HostName{std::move(name), std::move(link)};
  }
  return Error(cat(kNames, " names for the host's end are all taken, the first is ", host_link_name(attachment)));
}

// In the child.
void send_order(const base::Errand& errand) {
  (void)!::send(errand.descriptors[0], errand.bytes.data(), errand.size, 0);
}

bool is_marked(const net::LinkInfo& link) { return link.alias.starts_with("fairlead:"); }

// Whether the host's end of the container's link bears the mark of an attachment: another one's, since that of this one
// was looked for.
Result<bool> is_of_another(net::Rtnl& host, const net::LinkInfo& link) {
  if (link.kind != "veth" || !link.peer_netns) return false;
  const auto other_end = TRY(host.find_link(link.peer));
  return other_end && other_end->kind == "veth" && other_end->peer == link.index && is_marked(*other_end);
}

// In the container's namespace, of which the thread is: a macvlan that was not renamed yet has a name of ours.
Status remove_by_name(net::Rtnl& host, const Attachment& attachment) {
  net::Rtnl inside = TRY(net::Rtnl::open());
  for (const std::string& name : {attachment.ifname, host_link_name(attachment)}) {
    const auto link = TRY(inside.find_link(name));
    if (link && !TRY(is_of_another(host, *link))) TRY(remove_link(link->index));
  }
  return {};
}

Status remove_now(std::uint32_t index) {
  net::Rtnl rtnl = TRY(net::Rtnl::open());
  Status removed = rtnl.order({net::delete_link_message(index)});
  if (!removed && removed.error().errno_value() == ENODEV) return {};
  return removed;
}

}  // namespace

Result<std::string> create_veth(net::Rtnl& host, const Attachment& attachment, const net::Netns& netns,
                                const VethWish& wish) {
  const HostName found = TRY(host_name(host, attachment));
  // Left by a container of the same id whose namespace lives on: in this one the name is free.
  if (found.ours) TRY(remove_link(found.ours->index));
  const net::VethPair pair{.name = found.name,
                           .alias = link_alias(attachment),
                           .mac = wish.host_mac,
                           .mtu = wish.mtu,
                           .master = wish.master,
                           .slave_data = wish.slave_data,
                           .up = wish.up,
                           .peer_name = attachment.ifname,
                           .peer_mac = wish.container_mac,
                           .peer_netns_fd = netns.fd()};
  auto messages = net::create_veth(pair);
  const std::size_t needed = messages.size();
  // A bridge's port has no use for an address, nor the pod for its router solicitations; where there is no IPv6 there
  // are none.
  if (wish.master != 0) messages.push_back(net::stay_silent(found.name));
  auto outcomes = TRY(host.socket().order(messages));
  outcomes.resize(needed);
  if (!outcomes.front()) {
    const Error& error = outcomes.front().error();
    if (error.errno_value() == EEXIST) return already_there(attachment.ifname);
    return error.with_context(cat("create ", found.name));
  }
  for (const Status& outcome : outcomes) {
    if (outcome) continue;
    // Without its mark nobody would find it again.
    const auto made = TRY(host.find_link(found.name));
    if (made) TRY(remove_link(made->index));
    return outcome.error().with_context(cat("set up ", found.name));
  }
  return found.name;
}

Result<std::optional<net::LinkInfo>> find_host_link(net::Rtnl& host, const Attachment& attachment) {
  return TRY(host_name(host, attachment)).ours;
}

Result<net::LinkInfo> wait_until_up(net::Rtnl& rtnl, const std::string& name) {
  net::LinkInfo link = TRY(rtnl.link(name));
  if (link.operstate == kOperUp) return link;
  net::LinkEvents events = TRY(net::LinkEvents::open());
  link = TRY(rtnl.link(name));  // it may have come up before we listened
  const auto up = [&](const net::LinkEvent& event) { return event.index == link.index && event.operstate == kOperUp; };
  const bool heard = link.operstate != kOperUp && TRY(events.await(kComingUp, up));
  if (link.operstate != kOperUp && !heard) {
    link = TRY(rtnl.link(name));
    if (link.operstate != kOperUp)
      return Error(cat(name, " did not come up: its operational state is ", unsigned{link.operstate}, ", not ",
                       unsigned{kOperUp}));
  }
  link.operstate = kOperUp;
  return link;
}

Status remove_link(std::uint32_t index) {
  net::LinkEvents events = TRY(net::LinkEvents::open());
  const net::NetlinkSocket socket = TRY(net::NetlinkSocket::open(NETLINK_ROUTE));
  const std::string request = net::delete_link_message(index).finished();
  base::Errand errand{.descriptors = {socket.fd(), -1}};
  errand.size = request.copy(errand.bytes.data(), errand.bytes.size());
  const bool started = base::start_beside(send_order, errand);
  const auto gone = [&](const net::LinkEvent& event) { return event.deleted && event.index == index; };
  if (started && TRY(events.await(kRemoval, gone))) return {};
  return remove_now(index);
}

Status remove_interface(const Call& call) {
  net::Rtnl host = TRY(net::Rtnl::open());
  const auto ours = TRY(find_host_link(host, call.attachment));
  if (ours) {
    TRY_CONTEXT(remove_link(ours->index), cat("delete ", ours->name));
    return {};
  }
  if (call.netns.empty()) return {};
  const auto netns = net::Netns::open(call.netns);
  if (!netns || *netns == TRY(net::Netns::current())) return {};  // gone; or the host's own links
  Status removed = netns->run([&]() -> Status { return remove_by_name(host, call.attachment); });
  TRY_CONTEXT(std::move(removed), cat("delete ", call.attachment.ifname));
  return {};
}

Status sweep_host_links(const Call& call) {
  std::vector<std::string> living;
  for (const Attachment& one : *call.valid) living.push_back(link_alias(one));
  std::vector<Error> errors;
  net::Rtnl host = TRY(net::Rtnl::open());
  for (const net::LinkInfo& link : TRY(host.list_links())) {
    // "fairlead:<digest>:<network>:..." (marks.h)
    const auto parts = base::split(link.alias, ':');
    const bool ours = link.kind == "veth" && parts.size() == 5 && parts[0] == "fairlead";
    if (!ours || parts[2] != call.attachment.network) continue;
    if (std::find(living.begin(), living.end(), link.alias) != living.end()) continue;
    const Status removed = remove_link(link.index);
    if (!removed) errors.push_back(removed.error().with_context(cat("delete ", link.name)));
  }
  return joined(errors);
}

}  // namespace fairlead::cni
