#include "proxy/conntrack/review.h"

#include <algorithm>
#include <optional>
#include <ostream>

namespace fairlead::proxy::conntrack {
namespace {

using model::Protocol;
using net::conntrack::Entry;

std::optional<Protocol> protocol_of(const Entry& entry) {
  const auto protocol = static_cast<Protocol>(entry.protocol);
  switch (protocol) {
    case Protocol::Udp:
    case Protocol::Tcp:
    case Protocol::Sctp: return protocol;
  }
  return std::nullopt;
}

bool may_be_cut(const Entry& entry, Protocol protocol) {
  if (protocol == Protocol::Udp) return true;
  if ((entry.status & net::conntrack::kSeenReply) != 0) return false;
  return entry.state == (protocol == Protocol::Tcp ? net::conntrack::kTcpSynSent : net::conntrack::kSctpCookieWait);
}

bool translated(const Entry& entry) {
  return entry.reply.source != entry.original.destination || entry.reply.source_port != entry.original.destination_port;
}

}  // namespace

void merge(Review& earlier, Review&& later) {
  for (auto& [place, wanted] : later.frontends) earlier.frontends.insert_or_assign(place, std::move(wanted));
  earlier.node_ports = std::move(later.node_ports);
}

std::ostream& operator<<(std::ostream& out, const Review& review) {
  for (const auto& [place, wanted] : review.frontends) {
    out << to_string(place.protocol) << ' ' << net::host_port(place.address, place.port) << " ->";
    if (wanted.gone) out << " gone";
    for (const Target& target : wanted.serving) out << ' ' << net::host_port(target.address, target.port);
    out << '\n';
  }
  return out;
}

std::size_t Judge::Hash::operator()(const Place& place) const {
  const std::size_t rest = std::size_t{place.port} << 8 | static_cast<std::size_t>(place.protocol);
  return std::hash<net::Ip>()(place.address) ^ rest * 0x9e3779b97f4a7c15;
}

Judge::Judge(const Review& review, const std::vector<net::Ip>& local) : node_ports_(review.node_ports), local_(local) {
  std::sort(local_.begin(), local_.end());
  frontends_.reserve(review.frontends.size());
  for (const auto& [place, wanted] : review.frontends) frontends_.emplace(place, &wanted);
}

// A packet to another node's NodePort, or to a port of that number anywhere in the world, also passes through here.
// kube-proxy deletes their entries (kubernetes v1.36 pkg/proxy/conntrack/cleanup.go compares the port alone).
bool Judge::answers_node_ports(const net::Ip& address, bool is_translated) const {
  if (address.is_loopback()) return node_ports_.localhost && is_translated;  // else a process that listens there
  return std::binary_search(local_.begin(), local_.end(), address) &&
         std::any_of(node_ports_.in.begin(), node_ports_.in.end(),
                     [&](const net::Prefix& prefix) { return prefix.contains(address); });
}

const Wanted* Judge::wanted(const Entry& entry, Protocol protocol) const {
  const net::conntrack::Tuple& to = entry.original;
  const auto exact = frontends_.find({entry.family(), protocol, to.destination, to.destination_port});
  if (exact != frontends_.end()) return exact->second;
  const auto any = frontends_.find({entry.family(), protocol, net::Ip(), to.destination_port});
  if (any == frontends_.end() || !answers_node_ports(to.destination, translated(entry))) return nullptr;
  return any->second;
}

bool Judge::stale(const Entry& entry) const {
  const std::optional<Protocol> protocol = protocol_of(entry);
  if (!protocol || !may_be_cut(entry, *protocol)) return false;
  const Wanted* frontend = wanted(entry, *protocol);
  if (frontend == nullptr) return false;
  if (frontend->gone) return translated(entry);
  // What was never translated is stale too: its source is the frontend, which is no endpoint.
  const Target now{entry.reply.source, entry.reply.source_port};
  return !std::binary_search(frontend->serving.begin(), frontend->serving.end(), now);
}

}  // namespace fairlead::proxy::conntrack
