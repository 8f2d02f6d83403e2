#include "tests/cni/snapshot.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "net/netns.h"
#include "net/rtnl.h"
#include "net/tc.h"

namespace fairlead::cnitest {
namespace {

using base::cat;
using base::hex;
using net::LinkInfo;

struct Place {
  std::string name;  // "host", "c1"
  std::vector<LinkInfo> links;
};

std::string name_of(const Place& place, std::uint32_t index) {
  for (const LinkInfo& link : place.links) {
    if (link.index == index) return link.name;
  }
  return index == 0 ? "-" : "?";
}

std::string address_text(std::string_view bytes) {
  if (bytes.size() == 4) return net::Ip::from_v4_be(net::netlink_value<std::uint32_t>(bytes)).to_string();
  if (bytes.size() == 16)
    return net::Ip::from_bytes(net::netlink_value<std::array<std::uint8_t, 16>>(bytes)).to_string();
  return "-";
}

bool link_local(const std::string& address) { return address.starts_with("fe80:"); }

std::string port_text(const LinkInfo& link) {
  const auto on = [&](std::uint16_t type) {
    return net::netlink_value<std::uint8_t>(net::netlink_attribute(link.slave_data, type)) != 0;
  };
  return cat(on(IFLA_BRPORT_MODE) ? " hairpin" : "", on(IFLA_BRPORT_ISOLATED) ? " isolated" : "");
}

std::string link_line(const Place& place, const LinkInfo& link) {
  std::string out = cat(place.name, " link ", link.name, " kind ", link.kind.empty() ? "-" : link.kind, " mtu ",
                        link.mtu, " mac ", net::to_string(link.mac));
  for (const auto& [flag, text] : {std::pair{IFF_UP, " up"}, {IFF_PROMISC, " promisc"}, {IFF_ALLMULTI, " allmulti"}}) {
    if ((link.flags & static_cast<unsigned>(flag)) != 0) out += text;
  }
  if (link.master != 0) out += cat(" master ", name_of(place, link.master), port_text(link));
  if (link.kind == "macvlan" || link.kind == "ipvlan") out += cat(" data ", hex(link.kind_data));
  return out;
}

Status add_addresses(net::Rtnl& rtnl, const Place& place, Lines& out) {
  net::NetlinkMessage question(RTM_GETADDR, NLM_F_DUMP);
  question.header(ifaddrmsg{});
  for (const std::string& body : TRY(rtnl.socket().ask(question))) {
    const auto head = net::netlink_value<ifaddrmsg>(body);
    const std::string_view attributes = std::string_view(body).substr(sizeof head);
    std::string_view local = net::netlink_attribute(attributes, IFA_LOCAL);
    if (local.empty()) local = net::netlink_attribute(attributes, IFA_ADDRESS);
    const std::string text = address_text(local);
    if (link_local(text)) continue;
    out.push_back(cat(place.name, " address ", name_of(place, head.ifa_index), " ", text, "/", head.ifa_prefixlen,
                      " broadcast ", address_text(net::netlink_attribute(attributes, IFA_BROADCAST)), " scope ",
                      head.ifa_scope));
  }
  return {};
}

Status add_routes(net::Rtnl& rtnl, const Place& place, Lines& out) {
  for (const net::Family family : {net::Family::V4, net::Family::V6}) {
    for (const net::RouteInfo& route : TRY(rtnl.list_routes(family, 0))) {
      if (link_local(route.destination.address.to_string()) || route.destination.address.is_multicast()) continue;
      out.push_back(cat(place.name, " route ", route.destination.to_string(), " via ",
                        route.gateway ? route.gateway->to_string() : "-", " dev ", name_of(place, route.link), " src ",
                        route.source ? route.source->to_string() : "-", " scope ", route.scope, " proto ",
                        route.protocol, " metric ", route.priority, " mtu ", route.mtu,
                        route.on_link ? " onlink" : ""));
    }
  }
  return {};
}

Status add_neighbours(net::Rtnl& rtnl, const Place& place, Lines& out) {
  net::NetlinkMessage question(RTM_GETNEIGH, NLM_F_DUMP);
  question.header(ndmsg{});
  for (const std::string& body : TRY(rtnl.socket().ask(question))) {
    const auto head = net::netlink_value<ndmsg>(body);
    if ((head.ndm_state & NUD_PERMANENT) == 0) continue;
    const std::string_view attributes = std::string_view(body).substr(sizeof head);
    out.push_back(cat(place.name, " neighbour ", address_text(net::netlink_attribute(attributes, NDA_DST)), " dev ",
                      name_of(place, static_cast<std::uint32_t>(head.ndm_ifindex))));
  }
  return {};
}

Status add_limits(net::Rtnl& rtnl, const Place& place, Lines& out) {
  for (const LinkInfo& link : place.links) {
    if (link.kind != "veth" && link.kind != "ifb") continue;
    for (const auto& bucket : TRY(net::list_token_buckets(rtnl.socket(), link.index)))
      out.push_back(cat(place.name, " tbf ", link.name, " rate ", bucket.rate, " buffer ", bucket.buffer, " limit ",
                        bucket.limit));
    for (const std::uint32_t to : TRY(net::list_ingress_redirects(rtnl.socket(), link.index)))
      out.push_back(cat(place.name, " redirect ", link.name, " to ", name_of(place, to)));
  }
  return {};
}

void add_sysctls(const Place& place, const std::vector<std::string>& paths, Lines& out) {
  for (const std::string& path : paths) {
    const auto value = net::read_sysctl(path);
    if (value) out.push_back(cat(place.name, " sysctl ", path, " = ", *value));
  }
}

Status describe(Place& place, const std::vector<std::string>& sysctls, Lines& out) {
  net::Rtnl rtnl = TRY(net::Rtnl::open());
  place.links = TRY(rtnl.list_links());
  for (const LinkInfo& link : place.links) {
    out.push_back(link_line(place, link));
    out.push_back(cat(place.name, " qlen ", link.name, " ", link.tx_queue_len));
  }
  TRY(add_addresses(rtnl, place, out));
  TRY(add_routes(rtnl, place, out));
  TRY(add_neighbours(rtnl, place, out));
  TRY(add_limits(rtnl, place, out));
  add_sysctls(place, sysctls, out);
  return {};
}

void add_files(const std::vector<std::string>& folders, Lines& out) {
  namespace fs = std::filesystem;
  for (const std::string& folder : folders) {
    std::error_code error;
    for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
      if (!at->is_regular_file()) continue;
      auto content = base::read_file(at->path());
      std::string text = content ? *content : content.error().message();
      if (auto json = base::parse_json(text)) text = base::to_json(*json);
      for (const auto& [bytes, shown] : {std::pair{'\r', "\\r"}, {'\n', "\\n"}}) {
        for (std::size_t i = 0; (i = text.find(bytes, i)) != std::string::npos;) text.replace(i, 1, shown);
      }
      out.push_back(cat("file ", at->path().string(), ": ", text));
    }
  }
}

// Containers first: what the two ends of a veth share is called by the container's.
void learn(const std::vector<Place>& places, Masks& masks) {
  const Place& host = places.front();
  for (std::size_t i = 1; i < places.size(); ++i) {
    for (const LinkInfo& link : places[i].links) {
      const std::string whose = cat(places[i].name, ":", link.name);
      masks.add(net::to_string(link.mac), cat("<mac ", whose, ">"));
      if (link.kind != "veth") continue;
      for (const LinkInfo& far : host.links) {
        if (far.index != link.peer || far.kind != "veth") continue;
        masks.add(far.name, cat("<veth ", whose, ">"));
        masks.add(net::to_string(far.mac), cat("<mac of veth ", whose, ">"));
      }
    }
  }
  for (const LinkInfo& link : host.links) {
    if (link.kind == "ifb") masks.add(link.name, "<ifb>");
    masks.add(net::to_string(link.mac), cat("<mac ", link.kind == "ifb" ? "<ifb>" : link.name, ">"));
  }
}

std::string nft_text(std::string_view body, std::uint16_t type) {
  const std::string_view text = net::netlink_attribute(body.substr(sizeof(nfgenmsg)), type);
  return std::string(text.substr(0, text.find('\0')));
}

struct NftObject {
  std::string body;
  std::string table;  // "inet t"
};

net::NetlinkMessage nft_question(int message, std::uint8_t family) {
  net::NetlinkMessage question(static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message), NLM_F_DUMP);
  question.header(nfgenmsg{.nfgen_family = family, .version = NFNETLINK_V0, .res_id = 0});
  return question;
}

Result<std::vector<NftObject>> nft_dump(net::NetlinkSocket& socket, int message, std::uint16_t table) {
  std::vector<NftObject> out;
  for (std::string& body : TRY(socket.ask(nft_question(message, NFPROTO_UNSPEC)))) {
    const int family = net::netlink_value<nfgenmsg>(body).nfgen_family;
    std::string name = cat(family, " ", nft_text(body, table));
    out.push_back({std::move(body), std::move(name)});
  }
  return out;
}

Result<unsigned> count_elements(net::NetlinkSocket& socket, const std::string& set) {
  net::NetlinkMessage question = nft_question(NFT_MSG_GETSETELEM, net::netlink_value<nfgenmsg>(set).nfgen_family);
  question.text(NFTA_SET_ELEM_LIST_TABLE, nft_text(set, NFTA_SET_TABLE))
      .text(NFTA_SET_ELEM_LIST_SET, nft_text(set, NFTA_SET_NAME));
  unsigned count = 0;
  for (const std::string& body : TRY(socket.ask(question))) {
    const std::string_view attributes = std::string_view(body).substr(sizeof(nfgenmsg));
    net::for_each_netlink_attribute(net::netlink_attribute(attributes, NFTA_SET_ELEM_LIST_ELEMENTS),
                                    [&](std::uint16_t, std::string_view) { ++count; });
  }
  return count;
}

}  // namespace

void Masks::add(const std::string& text, const std::string& mask) {
  if (text != "00:00:00:00:00:00" && given_.find(text) == std::string::npos) masks_.emplace(text, mask);
}

namespace {

// The length of the hardware address at the head of `text`; 0: there is none.
std::size_t mac_length(std::string_view text) {
  constexpr std::size_t kLength = 17;  // 02:00:00:00:00:01
  return net::parse_mac(text.substr(0, kLength)) && text.substr(2, 1) == ":" ? kLength : 0;
}

}  // namespace

std::string Masks::apply(std::string text) const {
  for (const auto& [from, to] : masks_) {
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
      text.replace(at, from.size(), to);
  }
  // Of links that were gone, or had another one, when the kernel was asked.
  for (std::size_t at = 0; at < text.size(); ++at) {
    const std::size_t length = mac_length(std::string_view(text).substr(at));
    const std::string mac = text.substr(at, length);
    if (length != 0 && mac != "00:00:00:00:00:00" && given_.find(mac) == std::string::npos)
      text.replace(at, length, "<mac>");
  }
  return text;
}

Result<Lines> snapshot(const CniHost& host, const Scope& scope, Masks& masks) {
  Lines out;
  std::vector<Place> places{{.name = "host", .links = {}}};
  Status seen = host.inside([&]() -> Status {
    add_files(scope.folders, out);
    return describe(places.front(), scope.sysctls, out);
  });
  TRY(std::move(seen));
  for (const std::string& container : scope.containers) {
    places.push_back({.name = container, .links = {}});
    seen = host.inside(container, [&] { return describe(places.back(), scope.container_sysctls, out); });
    TRY(std::move(seen));
  }
  learn(places, masks);
  for (std::string& line : out) line = masks.apply(std::move(line));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Result<Lines> nft_sizes(const CniHost& host) {
  std::map<std::string, unsigned> sizes;
  Status counted = host.inside([&]() -> Status {
    net::NetlinkSocket socket = TRY(net::NetlinkSocket::open(NETLINK_NETFILTER));
    for (const auto& [body, table] : TRY(nft_dump(socket, NFT_MSG_GETRULE, NFTA_RULE_TABLE)))
      ++sizes[cat("nft rules of ", table)];
    for (const auto& [body, table] : TRY(nft_dump(socket, NFT_MSG_GETSET, NFTA_SET_TABLE)))
      sizes[cat("nft elements of ", table, " ", nft_text(body, NFTA_SET_NAME))] = TRY(count_elements(socket, body));
    return {};
  });
  TRY(std::move(counted));
  Lines out;
  for (const auto& [what, count] : sizes) out.push_back(cat(what, ": ", count));
  return out;
}

Lines difference(const Lines& a, const Lines& b) {
  Lines only_a, only_b, out;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(only_a));
  std::set_difference(b.begin(), b.end(), a.begin(), a.end(), std::back_inserter(only_b));
  for (const std::string& line : only_a) out.push_back(cat("- ", line));
  for (const std::string& line : only_b) out.push_back(cat("+ ", line));
  return out;
}

std::string to_string(const Lines& lines) { return base::join(lines, "\n"); }

}  // namespace fairlead::cnitest
