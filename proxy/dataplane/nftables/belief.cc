#include "proxy/dataplane/nftables/belief.h"

#include <algorithm>
#include <map>

#include "base/strings.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

constexpr int kMaxReadings = 4;

nft::Element without_data(nft::Element element) {
  element.data = {};
  element.data_size = 0;
  return element;
}

// A dump comes in any order, and is taken more than once when it may have missed something.
template <typename T, typename Less>
void put(std::vector<T>& sorted, const T& value, Less less) {
  const auto it = std::lower_bound(sorted.begin(), sorted.end(), value, less);
  if (it == sorted.end() || less(value, *it)) {
    sorted.insert(it, value);
  } else {
    *it = value;
  }
}

// One element into its place; false when it cannot be ours.
bool take(const nft::TableId& table, SetId set, const nft::Element& e, Belief& into) {
  const net::Family family = table.family;
  const auto frontend = [&](auto Installed::*field, auto value) {
    const auto key = parse_frontend(family, set, e);
    if (key) into.frontends[*key].*field = value;
    return key.has_value();
  };
  const auto pool = [&](std::uint32_t value) -> InstalledPool& {
    return into.groups[{family, value & kGroupMask}][(value & kLocalPool) != 0 ? 1 : 0];
  };
  switch (set) {
    case SetId::Services:
    case SetId::NodePorts: return frontend(&Installed::code, parse_value(e));
    case SetId::Externals: return frontend(&Installed::external, parse_value(e));
    case SetId::Sessions: return frontend(&Installed::group, parse_value(e));
    case SetId::Restricted: return frontend(&Installed::restricted, true);
    case SetId::Endpoints: {
      const auto endpoint = parse_endpoint(family, e);
      if (!endpoint) return false;
      auto& slots = into.frontends[endpoint->frontend].slots[endpoint->local_pool ? 1 : 0];
      if (slots.size() <= endpoint->index) slots.resize(endpoint->index + 1);
      slots[endpoint->index] = endpoint->slot;
      return true;
    }
    case SetId::Ranges: {
      const auto range = parse_range(family, e);
      if (range) put(into.frontends[range->first].sources, range->second, std::less<>());
      return range.has_value();
    }
    case SetId::Shares: {
      const auto key = parse_share(e);
      if (key) pool(*key).share = parse_value(e);
      return key.has_value();
    }
    case SetId::Choices: {
      const auto choice = parse_choice(e);
      if (!choice) return false;
      auto& choices = pool(choice->pool).choices;
      if (choices.size() <= choice->index) choices.resize(choice->index + 1);
      choices[choice->index] = parse_value(e);
      return true;
    }
    case SetId::Members: {
      const auto member = parse_member(e);
      const auto target = parse_target(family, e);
      if (member && target) {
        put(pool(*member).members, Member{*member, *target},
            [](const Member& a, const Member& b) { return a.first < b.first; });
      }
      return member && target;
    }
    case SetId::Hairpin:
    case SetId::ClusterIps: {
      const auto address = parse_address(family, set, e);
      if (address) into.addresses[set == kAddressSets[0] ? 0 : 1][*address].installed = true;
      return address.has_value();
    }
  }
  return false;
}

Status read_elements(nft::Kernel& kernel, const nft::TableId& table, SetId set, Belief& into) {
  return kernel.dump_elements(table, name_of(set), [&](const nft::Element& e) {
    if (!take(table, set, e, into)) into.strays.insert({set, {table, without_data(e)}});
  });
}

// How many endpoints the codes promise, in each pool.
PerPool<std::size_t> promised(const Installed& installed) {
  PerPool<std::size_t> out{};
  for (const std::optional<std::uint32_t>& code : {installed.code, installed.external}) {
    if (code) out[(*code & kLocal) != 0 ? 1 : 0] += slots_of(*code);
  }
  return out;
}

bool is_complete(const Installed& installed) {
  if (!installed.code) return false;
  const bool shorts = balances(*installed.code) && (*installed.code & kShort) != 0;
  const bool sticks = balances(*installed.code) && (*installed.code & kSticky) != 0;
  if (shorts != installed.external.has_value() || sticks != installed.group.has_value()) return false;
  const auto count = promised(installed);
  for (std::size_t pool = 0; pool < count.size(); ++pool) {
    const std::vector<Slot>& slots = installed.slots[pool];
    if (slots.size() != count[pool]) return false;
    if (std::any_of(slots.begin(), slots.end(), [](const Slot& s) { return s.empty(); })) return false;
  }
  return true;
}

bool is_complete(const InstalledPool& pool) {
  const std::size_t count = pool.share ? *pool.share & kNumber : 0;
  return pool.members.size() == count && pool.choices.size() == count &&
         std::none_of(pool.choices.begin(), pool.choices.end(), [](std::uint32_t member) { return member == 0; });
}

bool is_complete(const Belief& belief, net::Family family) {
  return std::all_of(belief.frontends.begin(), belief.frontends.end(),
                     [&](const auto& entry) { return entry.first.family != family || is_complete(entry.second); }) &&
         std::all_of(belief.groups.begin(), belief.groups.end(), [&](const auto& entry) {
           return entry.first.family != family || (is_complete(entry.second[0]) && is_complete(entry.second[1]));
         });
}

Status find_endpoints(nft::Kernel& kernel, const nft::TableId& table, Belief& into) {
  constexpr std::size_t kAtOnce = 4000;
  auto found = [&](const nft::Element& e) {
    const auto endpoint = parse_endpoint(table.family, e);
    auto it = endpoint ? into.frontends.find(endpoint->frontend) : into.frontends.end();
    if (it != into.frontends.end()) {
      it->second.slots[endpoint->local_pool ? 1 : 0].at(endpoint->index) = endpoint->slot;
    }
  };
  std::vector<nft::Element> keys;
  auto ask = [&]() -> Status {
    if (keys.empty()) return {};
    TRY(kernel.find_elements(table, name_of(SetId::Endpoints), keys, found));
    keys.clear();
    return {};
  };
  for (auto& [key, installed] : into.frontends) {
    if (key.family != table.family) continue;
    const auto count = promised(installed);
    for (std::size_t pool = 0; pool < count.size(); ++pool) {
      installed.slots[pool].resize(count[pool]);
      for (std::uint32_t i = 0; i < count[pool]; ++i) keys.push_back(endpoint_element(key, pool == 1, i, nullptr));
    }
    if (keys.size() >= kAtOnce) TRY(ask());
  }
  return ask();
}

// The same for members of sticky pools: their shares tell how many choices there are, and the choices who.
Status find_members(nft::Kernel& kernel, const nft::TableId& table, Belief& into) {
  std::vector<nft::Element> choices;
  for (const auto& [key, group] : into.groups) {
    if (key.family != table.family) continue;
    for (const InstalledPool& pool : group) {
      const std::uint32_t count = pool.share ? *pool.share & kNumber : 0;
      for (std::uint32_t i = 0; i < count; ++i) choices.push_back(choice_element(*pool.share & ~kNumber, i, {}));
    }
  }
  std::vector<nft::Element> members;
  TRY(kernel.find_elements(table, name_of(SetId::Choices), choices, [&](const nft::Element& e) {
    if (take(table, SetId::Choices, e, into)) members.push_back(member_element(table.family, parse_value(e), nullptr));
  }));
  return kernel.find_elements(table, name_of(SetId::Members), members,
                              [&](const nft::Element& e) { take(table, SetId::Members, e, into); });
}

// A hash table that is growing can hide elements from a dump (linux v6.1 net/netfilter/nft_set_hash.c nft_rhash_walk
// starts over for every packet of it and skips as many as it had). So frontends are read until nothing new turns up,
// and the rest until there is as much as codes and shares say; what several readings found is taken together.
Status read_all_elements(nft::Kernel& kernel, const nft::TableId& table, std::size_t find_above, Belief& into) {
  for (int reading = 0; reading < kMaxReadings; ++reading) {
    const std::size_t before = into.frontends.size();
    TRY(read_elements(kernel, table, SetId::Services, into));
    TRY(read_elements(kernel, table, SetId::NodePorts, into));
    TRY(read_elements(kernel, table, SetId::Externals, into));
    if (reading > 0 && into.frontends.size() == before) break;
  }
  std::size_t endpoints = 0;
  for (const auto& [key, installed] : into.frontends) {
    const auto count = promised(installed);
    if (key.family == table.family) endpoints += count[0] + count[1];
  }
  bool found = endpoints > find_above && find_endpoints(kernel, table, into).has_value();
  for (int reading = 0; reading < kMaxReadings; ++reading) {
    if (!found) TRY(read_elements(kernel, table, SetId::Endpoints, into));
    TRY(read_elements(kernel, table, SetId::Sessions, into));
    TRY(read_elements(kernel, table, SetId::Shares, into));
    std::size_t members = 0;
    for (const auto& [key, group] : into.groups) {
      for (const InstalledPool& pool : group)
        members += pool.share && key.family == table.family ? *pool.share & kNumber : 0;
    }
    if (reading > 0 || members <= find_above || !find_members(kernel, table, into)) {
      TRY(read_elements(kernel, table, SetId::Choices, into));
      TRY(read_elements(kernel, table, SetId::Members, into));
    }
    if (is_complete(into, table.family)) break;
    found = false;
  }
  for (SetId set : {SetId::Restricted, SetId::Ranges, SetId::Hairpin, SetId::ClusterIps}) {
    TRY(read_elements(kernel, table, set, into));
  }
  return {};
}

Status read_table(nft::Kernel& kernel, TableBelief& table, const Settings& settings, const model::NodeState& node,
                  std::size_t find_above, Belief& into) {
  const auto dump = TRY(kernel.dump(table.id));
  table.exists = dump.has_value();
  if (!dump) return {};
  Verdicts verdicts;
  for (const auto& [name, member] : kVerdictMaps) {
    const bool present = std::any_of(dump->sets.begin(), dump->sets.end(),
                                     [map = name](const nft::Set& set) { return set.name == map; });
    if (!present) continue;
    auto& elements = verdicts.*member;
    TRY(kernel.dump_verdicts(table.id, name, [&](const nft::VerdictElement& e) { elements.insert(e); }));
  }
  Inspection inspection = inspect(*dump, verdicts, table.id, settings, node);
  table.mismatch = std::move(inspection.mismatch);
  if (!table.usable()) return {};
  table.codes = std::move(inspection.codes);
  table.lengths = std::move(inspection.lengths);
  if (!inspection.other_node) table.node = node_text(table.id.family, node);
  return read_all_elements(kernel, table.id, find_above, into);
}

}  // namespace

Result<Belief> read_belief(nft::Kernel& kernel, const std::vector<nft::TableId>& tables, const Settings& settings,
                           const model::NodeState& node, std::size_t find_above) {
  constexpr int kAttempts = 5;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Belief belief;
    Status read;
    for (const nft::TableId& id : tables) {
      belief.tables.push_back({.id = id, .exists = false, .mismatch = {}, .node = {}, .codes = {}, .lengths = {}});
      read = read_table(kernel, belief.tables.back(), settings, node, find_above, belief);
      if (!read) break;
    }
    if (read) return belief;
    // Somebody wrote or deleted while we read.
    const int code = read.error().errno_value();
    if ((code != EINTR && code != ENOENT) || attempt + 1 == kAttempts) {
      return std::move(read).error().with_context("cannot read our nftables tables");
    }
  }
  return Error("cannot read our nftables tables");
}

std::string Belief::text() const {
  const std::map<FrontendKey, Installed> sorted(frontends.begin(), frontends.end());
  std::string out;
  for (const TableBelief& table : tables) {
    const net::Family family = table.id.family;
    out += base::cat("table ", table.id.to_string(), table.usable() ? "\n" : " (not in force)\n", table.node);
    for (const auto& [key, installed] : sorted) {
      if (key.family == family) append_text(out, key, installed);
    }
    for (const auto& [key, installed] : groups) {
      if (key.family == family) append_text(out, installed);
    }
    for (std::size_t set = 0; set < addresses.size(); ++set) {
      const std::map<net::Ip, AddressUse> in_order(addresses[set].begin(), addresses[set].end());
      for (const auto& [address, use] : in_order) {
        if (!use.installed || address.family() != family) continue;
        out += base::cat(name_of(kAddressSets[set]), " ", address.to_string(), "\n");
      }
    }
  }
  return out;
}

}  // namespace fairlead::proxy::dataplane::nftables
