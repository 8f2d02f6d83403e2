#include "proxy/model/endpoints.h"

#include <algorithm>
#include <tuple>

namespace fairlead::proxy::model {
namespace {

bool is_local(const kube::Endpoint& endpoint, const NodeView& node) {
  const std::string& name = endpoint.topology->node_name;
  return !name.empty() && name == node.name;
}

// A slice serves one family; FQDN slices serve none.
bool serves(const kube::EndpointSlice& slice, net::Family family) {
  return slice.address_type == (family == net::Family::V4 ? kube::AddressType::Ipv4 : kube::AddressType::Ipv6);
}

bool usable_address(const kube::EndpointSlice& slice, const net::Ip& address) {
  return !address.is_unspecified() && serves(slice, address.family());
}

// The number behind (name, protocol) in this slice, 0 when there is none. It may differ from slice to slice: a named
// targetPort that pods resolve differently.
std::uint16_t port_number(const kube::EndpointSlice& slice, std::string_view name, Protocol protocol) {
  for (const kube::EndpointPort& port : slice.ports) {
    if (port.protocol == protocol && port.name == name) return port.port;
  }
  return 0;
}

// KEP-1669: drains, that is: terminating, but still answers.
bool drains(const Candidate& candidate) { return candidate.serving && candidate.terminating; }

using Hints = std::vector<std::string> kube::Topology::*;

// KEP-2433 and KEP-3015, hints: whether every ready endpoint carries one and at least one is for us.
bool all_hinted(const std::vector<Candidate>& candidates, Hints hints, const std::string& ours) {
  bool any_ours = false;
  for (const Candidate& candidate : candidates) {
    if (!candidate.ready) continue;
    const std::vector<std::string>& given = (*candidate.source->topology).*hints;
    if (given.empty()) return false;
    any_ours = any_ours || std::find(given.begin(), given.end(), ours) != given.end();
  }
  return any_ours && !ours.empty();
}

// Which hints restrict the cluster set on this node: those for nodes before those for zones, else none (nullptr).
Hints hints_to_follow(const std::vector<Candidate>& candidates, const NodeView& node) {
  if (all_hinted(candidates, &kube::Topology::node_hints, node.name)) return &kube::Topology::node_hints;
  if (all_hinted(candidates, &kube::Topology::zone_hints, node.zone)) return &kube::Topology::zone_hints;
  return nullptr;
}

template <typename Predicate>
std::vector<Endpoint> pick(const std::vector<Candidate>& candidates, Predicate wanted) {
  std::vector<Endpoint> out;
  out.reserve(candidates.size());
  for (const Candidate& candidate : candidates) {
    if (wanted(candidate)) out.push_back({candidate.address, candidate.port, candidate.local});
  }
  return out;
}

// The ready ones that the hints leave; when there are none, whatever drains, hints or not (KEP-1669).
std::vector<Endpoint> cluster_set(const std::vector<Candidate>& candidates, const NodeView& node) {
  const auto hints = hints_to_follow(candidates, node);
  const std::string& ours = hints == &kube::Topology::node_hints ? node.name : node.zone;
  std::vector<Endpoint> out = pick(candidates, [&](const Candidate& candidate) {
    if (!candidate.ready || hints == nullptr) return candidate.ready;
    const std::vector<std::string>& given = (*candidate.source->topology).*hints;
    return std::find(given.begin(), given.end(), ours) != given.end();
  });
  return out.empty() ? pick(candidates, drains) : out;
}

// The ready ones of this node, else its draining ones; hints do not count here.
std::vector<Endpoint> local_set(const std::vector<Candidate>& candidates) {
  std::vector<Endpoint> out = pick(candidates, [](const Candidate& c) { return c.local && c.ready; });
  return out.empty() ? pick(candidates, [](const Candidate& c) { return c.local && drains(c); }) : out;
}

// Of two endpoints with one address and port the later counts, unless it is on its way out: an address that a new pod
// took over, or a pod that moved between slices.
std::vector<Candidate> without_duplicates(std::vector<Candidate> candidates) {
  const auto place = [](const Candidate& c) { return std::tie(c.address, c.port); };
  const auto out_of_order = [&](const Candidate& a, const Candidate& b) { return !(place(a) < place(b)); };
  if (std::adjacent_find(candidates.begin(), candidates.end(), out_of_order) == candidates.end()) return candidates;
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](const Candidate& a, const Candidate& b) { return place(a) < place(b); });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (kept == 0 || place(candidates[kept - 1]) != place(candidates[i])) {
      candidates[kept++] = candidates[i];
    } else if (!candidates[i].terminating) {
      candidates[kept - 1] = candidates[i];
    }
  }
  candidates.resize(kept);
  return candidates;
}

}  // namespace

std::vector<Candidate> collect(const std::vector<const kube::EndpointSlice*>& slices, std::string_view port_name,
                               Protocol protocol, net::Family family, const NodeView& node) {
  std::vector<Candidate> out;
  for (const kube::EndpointSlice* slice : slices) {
    if (!serves(*slice, family)) continue;
    const std::uint16_t port = port_number(*slice, port_name, protocol);
    if (port == 0) continue;
    out.reserve(out.size() + slice->endpoints.size());
    for (const kube::Endpoint& endpoint : slice->endpoints) {
      if (!usable_address(*slice, endpoint.address)) continue;
      out.push_back({endpoint.address, port, endpoint.ready.value_or(true), endpoint.serving.value_or(true),
                     endpoint.terminating.value_or(false), is_local(endpoint, node), &endpoint});
    }
  }
  return without_duplicates(std::move(out));
}

Selection select(const std::vector<Candidate>& candidates, Wanted wanted, const NodeView& node) {
  Selection out;
  if (wanted.cluster) out.cluster = cluster_set(candidates, node);
  if (wanted.local) out.local = local_set(candidates);
  out.serving = pick(candidates, [](const Candidate& c) { return c.serving || c.ready; });
  out.any = std::any_of(candidates.begin(), candidates.end(), [](const Candidate& c) { return c.ready || drains(c); });
  return out;
}

EndpointCounts count(const std::vector<kube::ServicePort>& ports, const std::vector<const kube::EndpointSlice*>& slices,
                     const NodeView& node) {
  struct Seen {
    net::Ip address;
    bool ready = false;
    bool local = false;
  };
  std::vector<Seen> all;
  for (const kube::EndpointSlice* slice : slices) {
    const bool serves_a_port = std::any_of(ports.begin(), ports.end(), [&](const kube::ServicePort& port) {
      return port_number(*slice, port.name, port.protocol) != 0;
    });
    if (!serves_a_port) continue;
    all.reserve(all.size() + slice->endpoints.size());
    for (const kube::Endpoint& endpoint : slice->endpoints) {
      if (!usable_address(*slice, endpoint.address)) continue;
      const bool ready = endpoint.ready.value_or(true);
      all.push_back({endpoint.address, ready, ready && is_local(endpoint, node)});
    }
  }
  const auto before = [](const Seen& a, const Seen& b) { return a.address < b.address; };
  if (!std::is_sorted(all.begin(), all.end(), before)) std::sort(all.begin(), all.end(), before);
  // A dual-stack pod stands in a slice of each family and is one endpoint to people: the fuller family counts.
  EndpointCounts v4, v6;
  for (std::size_t i = 0; i < all.size();) {
    Seen merged = all[i];
    for (++i; i < all.size() && all[i].address == merged.address; ++i) {
      merged.ready = merged.ready || all[i].ready;
      merged.local = merged.local || all[i].local;
    }
    EndpointCounts& out = merged.address.is_v4() ? v4 : v6;
    out.total += 1;
    out.ready += merged.ready ? 1 : 0;
    out.local += merged.local ? 1 : 0;
  }
  return {std::max(v4.local, v6.local), std::max(v4.ready, v6.ready), std::max(v4.total, v6.total)};
}

}  // namespace fairlead::proxy::model
