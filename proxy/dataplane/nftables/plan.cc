#include "proxy/dataplane/nftables/plan.h"

#include <algorithm>
#include <bitset>
#include <map>
#include <set>

#include "base/strings.h"
#include "proxy/dataplane/nftables/claims.h"
#include "proxy/dataplane/nftables/layout.h"
#include "proxy/dataplane/nftables/sessions.h"

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

std::vector<Slot> targets_of(const std::vector<model::Endpoint>& endpoints, net::Family family) {
  std::vector<Slot> slots;
  slots.reserve(endpoints.size());
  for (const model::Endpoint& e : endpoints) {
    if (e.port != 0 && e.address.family() == family) slots.push_back({e.address, e.port, e.local});
  }
  slots.erase(std::unique(slots.begin(), slots.end(), [](const Slot& a, const Slot& b) { return a.same_target(b); }),
              slots.end());
  return slots;
}

std::uint32_t masquerade_flag(model::Masquerade masquerade) {
  switch (masquerade) {
    case model::Masquerade::Never: return 0;
    case model::Masquerade::Always: return kMasquerade;
    case model::Masquerade::OffCluster: return kOffCluster;
  }
  return 0;
}

// How a frontend serves one pool, without what makes pods and the node different.
std::uint32_t code_for(const model::Frontend& frontend, model::Pool pool, std::size_t endpoints, bool sticky,
                       const model::PortState& port) {
  if (endpoints == 0) return frontend.when_empty == model::WhenEmpty::Drop ? kDrop : kReject;
  std::uint32_t code =
      sticky ? kSticky | std::min(port.affinity_seconds, kArgument) : static_cast<std::uint32_t>(endpoints) & kArgument;
  if (pool == model::Pool::Local) code |= kLocal;
  if (frontend.kind == model::FrontendKind::NodePort) code |= kNodePort;
  return code;
}

Wanted wanted_by(const model::Frontend& frontend, const model::PortState& port, const GroupOf& group_of) {
  Wanted wanted;
  wanted.cluster_ip = frontend.kind == model::FrontendKind::ClusterIp;
  wanted.restricted = frontend.restricted;
  for (const net::Prefix& range : port.allowed_sources) {
    if (frontend.restricted && range.family() == port.family) wanted.sources.push_back(range);
  }
  const auto served_from = [&](model::Pool pool) {
    return frontend.pool == pool || (frontend.short_circuit && pool == model::Pool::Cluster);
  };
  for (const model::Pool pool : {model::Pool::Cluster, model::Pool::Local}) {
    if (served_from(pool)) {
      wanted.endpoints[static_cast<std::size_t>(pool)] = targets_of(port.pool(pool), port.family);
    }
  }
  const auto count = [&](model::Pool pool) { return wanted.endpoints[static_cast<std::size_t>(pool)].size(); };
  if (frontend.short_circuit && count(model::Pool::Cluster) == 0) {
    wanted.endpoints = {};  // refused to everybody
    return wanted;
  }
  if (port.affinity_seconds > 0 && group_of) wanted.group = group_of(port);
  const bool sticky = wanted.group.has_value();
  wanted.code = code_for(frontend, frontend.pool, count(frontend.pool), sticky, port);
  if (balances(wanted.code)) wanted.code |= masquerade_flag(frontend.masquerade);
  if (frontend.short_circuit) {
    wanted.external = std::exchange(
        wanted.code, kShort | code_for(frontend, model::Pool::Cluster, count(model::Pool::Cluster), sticky, port));
  }
  if (sticky) wanted.endpoints = {};
  if (!balances(wanted.code)) wanted.group.reset();
  return wanted;
}

FrontendKey key_of(const model::Frontend& frontend, const model::PortState& port) {
  const bool node_port = frontend.kind == model::FrontendKind::NodePort;
  return {.family = port.family,
          .node_port = node_port,
          .protocol = port.protocol,
          .port = frontend.port,
          .address = node_port ? net::Ip() : frontend.address};
}

bool is_reachable(const model::Frontend& frontend, const model::PortState& port) {
  return frontend.kind == model::FrontendKind::NodePort ||
         (frontend.address.family() == port.family && !frontend.address.is_unspecified());
}

std::vector<Slot> arrange_slots(const std::vector<Slot>& have, const std::vector<Slot>& want) {
  if (have.empty()) return want;
  std::vector<Slot> result(want.size());
  std::vector<bool> placed(want.size(), false);
  for (std::size_t i = 0; i < std::min(have.size(), want.size()); ++i) {
    auto it = std::lower_bound(want.begin(), want.end(), have[i], before);
    if (it == want.end() || !it->same_target(have[i])) continue;
    const auto at = static_cast<std::size_t>(it - want.begin());
    if (placed[at]) continue;
    placed[at] = true;
    result[i] = *it;
  }
  std::size_t hole = 0;
  for (std::size_t at = 0; at < want.size(); ++at) {
    if (placed[at]) continue;
    while (!result[hole].empty()) ++hole;
    result[hole] = want[at];
  }
  return result;
}

// Numbers of members, the same in both pools.
class Numbers {
 public:
  explicit Numbers(const InstalledGroup& have) {
    for (const InstalledPool& pool : have) {
      for (const auto& [member, slot] : pool.members) {
        if (take(member & kNumber)) known_.emplace(std::pair(slot.address, slot.port), member & kNumber);
      }
    }
  }
  std::uint32_t of(const Slot& slot) {
    const auto [it, is_new] = known_.try_emplace({slot.address, slot.port}, first_of(slot));
    if (!is_new) return it->second;
    if (count_ == kNumber) {  // then numbers of who left are given out again
      taken_.reset();
      count_ = 0;
    }
    while (!take(it->second)) it->second = it->second % kNumber + 1;
    return it->second;
  }

 private:
  static std::uint32_t first_of(const Slot& slot) {
    std::array<char, 18> name{};
    std::copy(slot.address.bytes().begin(), slot.address.bytes().end(), name.begin());
    name[16] = static_cast<char>(slot.port >> 8);
    name[17] = static_cast<char>(slot.port);
    return stable_hash({name.data(), name.size()}) % kNumber + 1;
  }
  bool take(std::uint32_t number) {
    if (taken_[number]) return false;
    taken_.set(number);
    ++count_;
    return true;
  }

  std::map<std::pair<net::Ip, std::uint16_t>, std::uint32_t> known_;
  std::bitset<kNumber + 1> taken_;
  std::size_t count_ = 0;
};

std::vector<std::uint32_t> arrange_choices(const std::vector<std::uint32_t>& have, const InstalledPool& pool) {
  std::vector<std::uint32_t> result(pool.members.size());
  std::bitset<kNumber + 1> placed;
  for (std::size_t i = 0; i < std::min(have.size(), result.size()); ++i) {
    if (pool.find(have[i]) == nullptr || placed[have[i] & kNumber]) continue;
    placed.set(have[i] & kNumber);
    result[i] = have[i];
  }
  std::size_t hole = 0;
  for (const auto& [member, ignored] : pool.members) {
    if (placed[member & kNumber]) continue;
    while (result[hole] != 0) ++hole;
    result[hole] = member;
  }
  return result;
}

template <typename T>
Change<T> change(const std::optional<T>& have, const std::optional<T>& want) {
  return have == want ? Change<T>() : Change<T>{have, want};
}
template <typename T>
std::size_t size_of(const Change<T>& c) {
  return std::size_t{c.deleted.has_value()} + c.added.has_value();
}

void append_slots(std::string& out, const std::string& name, const std::vector<Slot>& slots) {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const Slot& slot = slots[i];
    if (slot.empty()) continue;
    out += base::cat("endpoints ", name, " . ", i, " : ", slot.address.to_string(), " . ", slot.port,
                     slot.local ? " (local)\n" : "\n");
  }
}

}  // namespace

std::string FrontendKey::to_string() const {
  const std::string rest = base::cat(lower_name(protocol), " . ", port);
  return node_port ? rest : base::cat(address.to_string(), " . ", rest);
}

std::string GroupKey::to_string() const { return base::cat("group ", group >> kGroupShift); }

std::vector<FrontendKey> keys_of(const model::PortState& port) {
  std::vector<FrontendKey> keys;
  for (const model::Frontend& frontend : port.frontends) {
    if (is_reachable(frontend, port)) keys.push_back(key_of(frontend, port));
  }
  return keys;
}

std::vector<std::pair<FrontendKey, Wanted>> frontends_of(const model::ServiceState& state, const GroupOf& group_of) {
  std::vector<std::pair<FrontendKey, Wanted>> out;
  for (const model::PortState& port : state.ports) {
    for (const model::Frontend& frontend : port.frontends) {
      if (is_reachable(frontend, port)) out.emplace_back(key_of(frontend, port), wanted_by(frontend, port, group_of));
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  out.erase(std::unique(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.first == b.first; }),
            out.end());
  return out;
}

WantedGroup members_of(const model::PortState& port) {
  WantedGroup pools;
  for (const model::Frontend& frontend : port.frontends) {
    for (const model::Pool pool : {model::Pool::Cluster, model::Pool::Local}) {
      auto& members = pools[static_cast<std::size_t>(pool)];
      const bool used = frontend.pool == pool || (frontend.short_circuit && pool == model::Pool::Cluster);
      if (used && members.empty()) members = targets_of(port.pool(pool), port.family);
      if (members.size() > kNumber) members.resize(kNumber);
    }
  }
  return pools;
}

Installed arrange(const PerPool<std::vector<Slot>>& have, const Wanted& want) {
  Installed result{.code = want.code,
                   .external = want.external,
                   .slots = {},
                   .group = want.group,
                   .cluster_ip = want.cluster_ip,
                   .restricted = want.restricted,
                   .sources = want.sources};
  for (std::size_t pool = 0; pool < have.size(); ++pool) {
    result.slots[pool] = arrange_slots(have[pool], want.endpoints[pool]);
  }
  return result;
}

InstalledGroup arrange(std::uint32_t group, const InstalledGroup& have, const WantedGroup& want) {
  InstalledGroup result;
  Numbers numbers(have);
  for (std::size_t i = 0; i < result.size(); ++i) {
    const std::uint32_t pool = pool_of(group, i == 1);
    result[i].members.reserve(want[i].size());
    for (const Slot& slot : want[i]) result[i].members.emplace_back(pool | numbers.of(slot), slot);
    std::sort(result[i].members.begin(), result[i].members.end(),
              [](const Member& a, const Member& b) { return a.first < b.first; });
    result[i].choices = arrange_choices(have[i].choices, result[i]);
    if (!want[i].empty()) result[i].share = pool | static_cast<std::uint32_t>(result[i].choices.size());
  }
  return result;
}

Wanted wanted_of(const Installed& installed) {
  Wanted wanted{.code = installed.code.value_or(kReject),
                .external = installed.external,
                .endpoints = installed.slots,
                .group = installed.group,
                .cluster_ip = installed.cluster_ip,
                .restricted = installed.restricted,
                .sources = installed.sources};
  for (std::vector<Slot>& endpoints : wanted.endpoints) {
    std::erase_if(endpoints, [](const Slot& slot) { return slot.empty(); });
    std::sort(endpoints.begin(), endpoints.end(), before);
  }
  return wanted;
}

WantedGroup wanted_of(const InstalledGroup& installed) {
  WantedGroup wanted;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    for (const auto& [member, slot] : installed[i].members) wanted[i].push_back(slot);
    std::sort(wanted[i].begin(), wanted[i].end(), before);
  }
  return wanted;
}

std::size_t FrontendDelta::size() const {
  return deleted.size() + added.size() + size_of(code) + size_of(external) + size_of(group) + size_of(restricted) +
         sources_deleted.size() + sources_added.size();
}

const Slot* InstalledPool::find(std::uint32_t member) const {
  const auto it = std::lower_bound(members.begin(), members.end(), member,
                                   [](const Member& m, std::uint32_t number) { return m.first < number; });
  return it != members.end() && it->first == member ? &it->second : nullptr;
}

FrontendDelta difference(const Installed& have, const Installed& want) {
  FrontendDelta delta;
  if (have.slots[0].empty()) delta.added.reserve(want.slots[0].size() + want.slots[1].size());
  const Slot none;
  for (std::size_t pool = 0; pool < have.slots.size(); ++pool) {
    const std::vector<Slot>& old_slots = have.slots[pool];
    const std::vector<Slot>& new_slots = want.slots[pool];
    for (std::uint32_t i = 0; i < std::max(old_slots.size(), new_slots.size()); ++i) {
      const Slot& old_slot = i < old_slots.size() ? old_slots[i] : none;
      const Slot& new_slot = i < new_slots.size() ? new_slots[i] : none;
      if (old_slot.same_target(new_slot)) continue;
      if (!old_slot.empty()) delta.deleted.push_back({pool == 1, i, old_slot});
      if (!new_slot.empty()) delta.added.push_back({pool == 1, i, new_slot});
    }
  }
  const auto present = [](bool yes) { return yes ? std::optional(true) : std::nullopt; };
  delta.code = change(have.code, want.code);
  delta.external = change(have.external, want.external);
  delta.group = change(have.group, want.group);
  delta.restricted = change(present(have.restricted), present(want.restricted));
  std::set_difference(have.sources.begin(), have.sources.end(), want.sources.begin(), want.sources.end(),
                      std::back_inserter(delta.sources_deleted));
  std::set_difference(want.sources.begin(), want.sources.end(), have.sources.begin(), have.sources.end(),
                      std::back_inserter(delta.sources_added));
  return delta;
}

void append_text(std::string& out, const FrontendKey& key, const Installed& installed) {
  const std::string name = key.to_string();
  if (installed.code) {
    out += base::cat(key.node_port ? "nodeports " : "services ", name, " : ", describe_code(*installed.code), "\n");
  }
  if (installed.external) out += base::cat("externals ", name, " : ", describe_code(*installed.external), "\n");
  append_slots(out, name, installed.slots[0]);
  append_slots(out, name + " . local", installed.slots[1]);
  if (installed.group) {
    out += base::cat("sessions ", name, " : ", GroupKey{key.family, *installed.group}.to_string(), "\n");
  }
  if (installed.restricted) out += base::cat("restricted ", name, "\n");
  for (const net::Prefix& range : installed.sources) out += base::cat("ranges ", name, " . ", range.to_string(), "\n");
}

void append_text(std::string& out, const InstalledGroup& installed) {
  for (std::size_t i = 0; i < installed.size(); ++i) {
    const InstalledPool& pool = installed[i];
    const auto name = [&](std::uint32_t value) {
      return base::cat("group ", value >> kGroupShift, i == 0 ? " cluster" : " local");
    };
    if (pool.share) out += base::cat("shares ", name(*pool.share), " : ", *pool.share & kNumber, "\n");
    for (std::size_t at = 0; at < pool.choices.size(); ++at) {
      if (pool.choices[at] == 0) continue;
      out += base::cat("choices ", name(pool.choices[at]), " . ", at, " : ", pool.choices[at] & kNumber, "\n");
    }
    for (const auto& [member, slot] : pool.members) {
      out += base::cat("members ", name(member), " . ", member & kNumber, " : ", slot.address.to_string(), " . ",
                       slot.port, slot.local ? " (local)\n" : "\n");
    }
  }
}

std::string plan_text(const model::NodeState& node, const std::vector<model::ServiceState>& services) {
  Claims claims;
  Sessions sessions;
  Edits edits;
  for (const model::ServiceState& state : services) {
    sessions.upsert(state, edits.groups, {});
    claims.upsert(state, sessions.groups_of(state.key), edits.frontends, [](const FrontendKey&) { return Wanted(); });
  }
  std::string out;
  for (net::Family family : {net::Family::V4, net::Family::V6}) {
    out += family == net::Family::V4 ? "table ip\n" : "table ip6\n";
    out += node_text(family, node);
    std::set<net::Ip> hairpin;
    std::set<net::Ip> cluster_ips;
    const auto note_local = [&](const std::vector<Slot>& slots) {
      for (const Slot& slot : slots) {
        if (slot.local) hairpin.insert(slot.address);
      }
    };
    for (const auto& [key, wanted] : edits.frontends) {
      if (key.family != family || !wanted) continue;
      append_text(out, key, arrange({}, *wanted));
      for (const auto& endpoints : wanted->endpoints) note_local(endpoints);
      if (wanted->cluster_ip) cluster_ips.insert(key.address);
    }
    for (const auto& [key, wanted] : edits.groups) {
      if (key.family != family || !wanted) continue;
      append_text(out, arrange(key.group, {}, *wanted));
      for (const auto& members : *wanted) note_local(members);
    }
    for (const net::Ip& address : hairpin) out += base::cat("hairpin ", address.to_string(), "\n");
    for (const net::Ip& address : cluster_ips) out += base::cat("cluster_ips ", address.to_string(), "\n");
  }
  return out;
}

}  // namespace fairlead::proxy::dataplane::nftables
