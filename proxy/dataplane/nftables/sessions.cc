#include "proxy/dataplane/nftables/sessions.h"

#include "base/strings.h"

namespace fairlead::proxy::dataplane::nftables {

Sessions::Port Sessions::port_of(const model::Key& service, const model::PortState& port) {
  return {service, port.name, port.protocol, port.family};
}

std::optional<std::uint32_t> Sessions::choose(const Port& id, const model::PortState& port,
                                              const Adopted& adopted) const {
  const auto is_free = [&](std::uint32_t group) { return !taken_.contains({id.family, group}); };
  const std::string name = base::cat(id.service.to_string(), "/", id.name, "/", static_cast<unsigned>(id.protocol));
  const std::uint32_t first = stable_hash(name) % kLastGroup + 1;
  // What a frontend refers to may be of another service, which had it before or has it now; near is ours.
  const auto is_near = [&](std::uint32_t group) {
    constexpr std::uint32_t kNear = 64;
    return (group & kGroupMask) == group && ((group >> kGroupShift) + kLastGroup - first) % kLastGroup < kNear;
  };
  if (adopted.group_of) {
    for (const FrontendKey& frontend : keys_of(port)) {
      const auto group = adopted.group_of(frontend);
      if (group && *group != 0 && is_near(*group) && is_free(*group)) return group;
    }
  }
  std::uint32_t number = first;
  do {
    const std::uint32_t group = number << kGroupShift;
    if (is_free(group) && !(adopted.is_used && adopted.is_used({id.family, group}))) return group;
    number = number % kLastGroup + 1;
  } while (number != first);
  return std::nullopt;
}

void Sessions::upsert(const model::ServiceState& state, GroupEdits& edits, const Adopted& adopted) {
  std::set<Port> now;
  for (const model::PortState& port : state.ports) {
    if (port.affinity_seconds == 0) continue;
    const Port id = port_of(state.key, port);
    auto it = groups_.find(id);
    if (it == groups_.end()) {
      const auto group = choose(id, port, adopted);
      if (!group) continue;
      it = groups_.emplace(id, *group).first;
      taken_.insert({id.family, *group});
    }
    now.insert(id);
    edits[{id.family, it->second}] = members_of(port);
  }
  for (auto it = groups_.lower_bound(Port{state.key, {}, {}, {}});
       it != groups_.end() && it->first.service == state.key;) {
    if (now.contains(it->first)) {
      ++it;
      continue;
    }
    const GroupKey gone{it->first.family, it->second};
    edits[gone].reset();
    taken_.erase(gone);
    it = groups_.erase(it);
  }
}

void Sessions::erase(const model::Key& service, GroupEdits& edits) {
  model::ServiceState nothing;
  nothing.key = service;
  upsert(nothing, edits, {});
}

GroupOf Sessions::groups_of(const model::Key& service) const {
  return [this, &service](const model::PortState& port) -> std::optional<std::uint32_t> {
    auto it = groups_.find(port_of(service, port));
    return it == groups_.end() ? std::nullopt : std::optional(it->second);
  };
}

}  // namespace fairlead::proxy::dataplane::nftables
