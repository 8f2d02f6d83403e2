#include "proxy/dataplane/nftables/plan.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "proxy/dataplane/nftables/claims.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

const char* lower_name(model::Protocol protocol) {
  switch (protocol) {
    case model::Protocol::Tcp: return "tcp";
    case model::Protocol::Udp: return "udp";
    case model::Protocol::Sctp: return "sctp";
  }
  return "?";
}

bool before(const Slot& a, const Slot& b) { return a.address != b.address ? a.address < b.address : a.port < b.port; }

Wanted wanted_by(const model::Frontend& frontend, const model::PortState& port) {
  Wanted wanted;
  for (const model::Endpoint& e : port.pool(frontend.pool)) {
    if (e.port != 0 && e.address.family() == port.family) wanted.endpoints.push_back({e.address, e.port, e.local});
  }
  std::sort(wanted.endpoints.begin(), wanted.endpoints.end(), before);
  wanted.endpoints.erase(std::unique(wanted.endpoints.begin(), wanted.endpoints.end(),
                                     [](const Slot& a, const Slot& b) { return a.same_target(b); }),
                         wanted.endpoints.end());
  if (wanted.endpoints.empty()) {
    wanted.code = frontend.when_empty == model::WhenEmpty::Reject ? kReject : kDrop;
  } else {
    wanted.code = static_cast<std::uint32_t>(wanted.endpoints.size()) & kCountMask;
    if (frontend.masquerade == model::Masquerade::Always) wanted.code |= kMasquerade;
    if (frontend.kind == model::FrontendKind::NodePort) wanted.code |= kNodePort;
  }
  return wanted;
}

}  // namespace

std::string FrontendKey::to_string() const {
  const std::string rest = base::cat(lower_name(protocol), " . ", port);
  return node_port ? rest : base::cat(address.to_string(), " . ", rest);
}

bool balances(std::uint32_t code) {
  return (code & kCountMask) != 0 && (code & ~(kCountMask | kMasquerade | kNodePort)) == 0;
}

std::string chain_of(std::uint32_t code) { return base::cat("nmpq"[code >> 24 & 3], code & kCountMask); }

std::optional<std::uint32_t> code_of_chain(const std::string& chain) {
  const std::size_t kind = chain.empty() ? std::string::npos : std::string_view("nmpq").find(chain[0]);
  if (kind == std::string::npos) return std::nullopt;
  const auto count = base::parse_number<std::uint32_t>(std::string_view(chain).substr(1));
  if (!count || *count == 0 || *count > kCountMask) return std::nullopt;
  const std::uint32_t code = static_cast<std::uint32_t>(kind) << 24 | *count;
  return chain_of(code) == chain ? std::optional(code) : std::nullopt;
}

std::string describe_code(std::uint32_t code) {
  if (balances(code)) return base::cat("goto ", chain_of(code));
  return code == kReject ? "reject" : code == kDrop ? "drop" : base::cat("unknown code ", code);
}

std::vector<std::pair<FrontendKey, Wanted>> frontends_of(const model::ServiceState& state) {
  std::vector<std::pair<FrontendKey, Wanted>> out;
  std::set<FrontendKey> seen;
  for (const model::PortState& port : state.ports) {
    for (const model::Frontend& frontend : port.frontends) {
      const bool node_port = frontend.kind == model::FrontendKind::NodePort;
      if (!node_port && (frontend.address.family() != port.family || frontend.address.is_unspecified())) continue;
      const FrontendKey key{.family = port.family,
                            .node_port = node_port,
                            .protocol = port.protocol,
                            .port = frontend.port,
                            .address = node_port ? net::Ip() : frontend.address};
      if (seen.insert(key).second) out.emplace_back(key, wanted_by(frontend, port));
    }
  }
  return out;
}

Installed arrange(const std::vector<Slot>& have, const Wanted& want) {
  const std::size_t count = want.endpoints.size();
  Installed result{.code = want.code, .slots = std::vector<Slot>(count)};
  std::vector<bool> placed(count, false);
  for (std::size_t i = 0; i < std::min(have.size(), count); ++i) {
    auto it = std::lower_bound(want.endpoints.begin(), want.endpoints.end(), have[i], before);
    if (it == want.endpoints.end() || !it->same_target(have[i])) continue;
    const auto at = static_cast<std::size_t>(it - want.endpoints.begin());
    if (placed[at]) continue;
    placed[at] = true;
    result.slots[i] = *it;
  }
  std::size_t hole = 0;
  for (std::size_t at = 0; at < count; ++at) {
    if (placed[at]) continue;
    while (!result.slots[hole].empty()) ++hole;
    result.slots[hole] = want.endpoints[at];
  }
  return result;
}

Wanted wanted_of(const Installed& installed) {
  Wanted wanted{.code = installed.code.value_or(kReject), .endpoints = installed.slots};
  std::erase_if(wanted.endpoints, [](const Slot& slot) { return slot.empty(); });
  std::sort(wanted.endpoints.begin(), wanted.endpoints.end(), before);
  return wanted;
}

FrontendDelta difference(const Installed& have, const Installed& want) {
  FrontendDelta delta;
  const Slot none;
  for (std::uint32_t i = 0; i < std::max(have.slots.size(), want.slots.size()); ++i) {
    const Slot& old_slot = i < have.slots.size() ? have.slots[i] : none;
    const Slot& new_slot = i < want.slots.size() ? want.slots[i] : none;
    if (old_slot.same_target(new_slot)) continue;
    if (!old_slot.empty()) delta.deleted.push_back({i, old_slot});
    if (!new_slot.empty()) delta.added.push_back({i, new_slot});
  }
  if (have.code != want.code) {
    delta.code_deleted = have.code;
    delta.code_added = want.code;
  }
  return delta;
}

void append_text(std::string& out, const FrontendKey& key, const Installed& installed) {
  const std::string name = key.to_string();
  if (installed.code) {
    out += base::cat(key.node_port ? "nodeports " : "services ", name, " : ", describe_code(*installed.code), "\n");
  }
  for (std::size_t i = 0; i < installed.slots.size(); ++i) {
    const Slot& slot = installed.slots[i];
    if (slot.empty()) continue;
    out += base::cat("endpoints ", name, " . ", i, " : ", slot.address.to_string(), " . ", slot.port,
                     slot.local ? " (local)\n" : "\n");
  }
}

std::string plan_text(const std::vector<model::ServiceState>& services) {
  Claims claims;
  Edits edits;
  for (const model::ServiceState& state : services) {
    claims.upsert(state, edits, [](const FrontendKey&) { return Wanted(); });
  }
  std::string out;
  for (net::Family family : {net::Family::V4, net::Family::V6}) {
    out += family == net::Family::V4 ? "table ip\n" : "table ip6\n";
    for (const auto& [key, wanted] : edits) {
      if (key.family == family && wanted) append_text(out, key, arrange({}, *wanted));
    }
  }
  return out;
}

}  // namespace fairlead::proxy::dataplane::nftables

std::size_t std::hash<fairlead::proxy::dataplane::nftables::FrontendKey>::operator()(
    const fairlead::proxy::dataplane::nftables::FrontendKey& key) const noexcept {
  const std::size_t rest = std::size_t{key.port} << 16 | static_cast<std::size_t>(key.protocol) << 8 |
                           static_cast<std::size_t>(key.node_port) << 1 | static_cast<std::size_t>(key.family);
  return std::hash<fairlead::net::Ip>()(key.address) ^ (rest * 0x9e3779b97f4a7c15ULL);
}
