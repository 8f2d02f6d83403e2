#include "proxy/dataplane/nftables/belief.h"

#include <algorithm>
#include <map>

#include "base/strings.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

constexpr int kMaxReadings = 4;

nft::Element key_of(nft::Element element) {
  element.data = {};
  element.data_size = 0;
  return element;
}

Status read_elements(nft::Kernel& kernel, const nft::TableId& table, SetId set, Belief& into) {
  auto stray = [&](const nft::Element& e) { into.strays.insert({set, {table, key_of(e)}}); };
  auto read = [&](const nft::Element& e) {
    switch (set) {
      case SetId::Services:
      case SetId::NodePorts:
        if (auto key = parse_frontend(table.family, set, e)) {
          into.frontends[*key].code = parse_code(e);
          return;
        }
        break;
      case SetId::Endpoints:
        if (auto endpoint = parse_endpoint(table.family, e)) {
          auto& slots = into.frontends[endpoint->frontend].slots;
          if (slots.size() <= endpoint->index) slots.resize(endpoint->index + 1);
          slots[endpoint->index] = endpoint->slot;
          return;
        }
        break;
      case SetId::Hairpin:
        if (auto address = parse_hairpin(table.family, e)) {
          into.hairpin[*address].installed = true;
          return;
        }
        break;
    }
    stray(e);
  };
  return kernel.dump_elements(table, name_of(set), read);
}

// How many endpoints the codes promise.
std::size_t promised(const Installed& installed) {
  const std::uint32_t code = installed.code.value_or(kReject);
  return balances(code) ? code & kCountMask : 0;
}

bool is_complete(const Belief& belief, net::Family family) {
  return std::all_of(belief.frontends.begin(), belief.frontends.end(), [&](const auto& entry) {
    const auto& [key, installed] = entry;
    if (key.family != family) return true;
    return installed.code && installed.slots.size() == promised(installed) &&
           std::none_of(installed.slots.begin(), installed.slots.end(), [](const Slot& s) { return s.empty(); });
  });
}

Status find_endpoints(nft::Kernel& kernel, const nft::TableId& table, Belief& into) {
  constexpr std::size_t kAtOnce = 4000;
  auto found = [&](const nft::Element& e) {
    const auto endpoint = parse_endpoint(table.family, e);
    auto it = endpoint ? into.frontends.find(endpoint->frontend) : into.frontends.end();
    if (it != into.frontends.end()) it->second.slots.at(endpoint->index) = endpoint->slot;
  };
  std::vector<nft::Element> keys;
  auto ask = [&]() -> Status {
    TRY(kernel.find_elements(table, name_of(SetId::Endpoints), keys, found));
    keys.clear();
    return {};
  };
  for (auto& [key, installed] : into.frontends) {
    if (key.family != table.family) continue;
    const auto count = static_cast<std::uint32_t>(promised(installed));
    installed.slots.resize(count);
    for (std::uint32_t i = 0; i < count; ++i) keys.push_back(endpoint_element(key, i, nullptr));
    if (keys.size() >= kAtOnce) TRY(ask());
  }
  return ask();
}

// A hash table that is growing can hide elements from a dump (linux v6.1 net/netfilter/nft_set_hash.c nft_rhash_walk
// starts over for every packet of it and skips as many as it had). So frontends are read until nothing new turns up,
// and endpoints until they are as many as the codes say; what several readings found is taken together.
Status read_all_elements(nft::Kernel& kernel, const nft::TableId& table, std::size_t find_above, Belief& into) {
  for (int reading = 0; reading < kMaxReadings; ++reading) {
    const std::size_t before = into.frontends.size();
    TRY(read_elements(kernel, table, SetId::Services, into));
    TRY(read_elements(kernel, table, SetId::NodePorts, into));
    if (reading > 0 && into.frontends.size() == before) break;
  }
  std::size_t endpoints = 0;
  for (const auto& [key, installed] : into.frontends) {
    if (key.family == table.family) endpoints += promised(installed);
  }
  bool found = false;
  if (endpoints > find_above) found = find_endpoints(kernel, table, into).has_value();
  for (int reading = 0; !found && reading < kMaxReadings; ++reading) {
    TRY(read_elements(kernel, table, SetId::Endpoints, into));
    found = is_complete(into, table.family);
  }
  return read_elements(kernel, table, SetId::Hairpin, into);
}

Status read_table(nft::Kernel& kernel, TableBelief& table, std::uint32_t mark, std::size_t find_above, Belief& into) {
  const auto dump = TRY(kernel.dump(table.id));
  table.exists = dump.has_value();
  if (!dump) return {};
  std::vector<nft::VerdictElement> verdicts[2];
  const char* names[2] = {"dispatch", "refuse"};
  for (int i = 0; i < 2; ++i) {
    const bool present =
        std::any_of(dump->sets.begin(), dump->sets.end(), [&](const nft::Set& set) { return set.name == names[i]; });
    if (!present) continue;
    TRY(kernel.dump_verdicts(table.id, names[i], [&](const nft::VerdictElement& e) { verdicts[i].push_back(e); }));
  }
  Inspection inspection = inspect(*dump, verdicts[0], verdicts[1], table.id, mark);
  table.mismatch = std::move(inspection.mismatch);
  if (!table.usable()) return {};
  table.codes = std::move(inspection.codes);
  return read_all_elements(kernel, table.id, find_above, into);
}

}  // namespace

Result<Belief> read_belief(nft::Kernel& kernel, const std::vector<nft::TableId>& tables, std::uint32_t mark,
                           std::size_t find_above) {
  constexpr int kAttempts = 5;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Belief belief;
    Status read;
    for (const nft::TableId& id : tables) {
      belief.tables.push_back({.id = id, .exists = false, .mismatch = {}, .codes = {}});
      read = read_table(kernel, belief.tables.back(), mark, find_above, belief);
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
  std::map<net::Ip, Hairpin> addresses(hairpin.begin(), hairpin.end());
  std::string out;
  for (const TableBelief& table : tables) {
    out += base::cat("table ", table.id.to_string(), table.usable() ? "\n" : " (not in force)\n");
    for (const auto& [key, installed] : sorted) {
      if (key.family == table.id.family) append_text(out, key, installed);
    }
    for (const auto& [address, state] : addresses) {
      if (!state.installed || address.family() != table.id.family) continue;
      out += base::cat("hairpin ", address.to_string(), "\n");
    }
  }
  return out;
}

}  // namespace fairlead::proxy::dataplane::nftables
