#include "proxy/dataplane/nftables/dump.h"

#include <algorithm>
#include <cstdio>

#include "base/strings.h"
#include "proxy/dataplane/nftables/belief.h"
#include "proxy/dataplane/nftables/rules.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

constexpr std::size_t kLabel = 20;

// "    label               value"; further values stand below the first.
void row(std::string& out, std::string label, const std::vector<std::string>& values) {
  for (const std::string& value : values) {
    label.resize(kLabel, ' ');
    out += base::cat("    ", label, value, "\n");
    label.clear();
  }
}
void row(std::string& out, const std::string& label, const std::string& value) {
  row(out, label, std::vector<std::string>{value});
}

std::string plural(std::size_t count, const std::string& what) {
  return base::cat(count, " ", what, count == 1 ? "" : "s");
}

std::string in_brackets(const net::Ip& ip) {
  return ip.family() == net::Family::V4 ? ip.to_string() : base::cat("[", ip.to_string(), "]");
}
std::string text_of(const Slot& slot) { return base::cat(in_brackets(slot.address), ":", slot.port); }

std::string title(const FrontendKey& key) {
  const char* protocol = key.protocol == model::Protocol::Tcp   ? "/tcp"
                         : key.protocol == model::Protocol::Udp ? "/udp"
                                                                : "/sctp";
  return base::cat(key.node_port ? "node port " : in_brackets(key.address) + ":", key.port, protocol);
}

std::string masquerade_text(std::uint32_t code) {
  if ((code & kMasquerade) != 0) return ", all masqueraded";
  return (code & kOffCluster) != 0 ? ", masqueraded unless from a pod" : "";
}

std::vector<std::string> members_of(const Installed& installed, const InstalledGroup* group, bool local) {
  std::vector<std::string> out;
  for (const Slot& slot : installed.slots[local ? 1 : 0]) {
    out.push_back(slot.empty() ? "missing" : text_of(slot));
  }
  if (!installed.group || group == nullptr) return out;
  for (const auto& [member, slot] : (*group)[local ? 1 : 0].members) out.push_back(text_of(slot));
  return out;
}

// What happens to the connections a code is for.
void append_code(std::string& out, const std::string& who, const std::optional<std::uint32_t>& code,
                 const Installed& installed, const InstalledGroup* group) {
  if (!code) return row(out, who, "no code: nothing happens");
  if (!balances(*code))
    return row(out, who, *code == kReject ? "rejected" : *code == kDrop ? "dropped" : describe_code(*code));
  const bool local = (*code & kLocal) != 0;
  const std::vector<std::string> members = members_of(installed, group, local);
  row(out, who,
      base::cat("balanced over ", plural(members.size(), local ? "local endpoint" : "endpoint"), masquerade_text(*code),
                " (", chain_of(*code), ")"));
  row(out, "", members);
}

void append_frontend(std::string& out, const FrontendKey& key, const Installed& installed, const Sight& sight) {
  out += base::cat(title(key), "\n");
  const auto it = installed.group ? sight.groups.find({key.family, *installed.group}) : sight.groups.end();
  const InstalledGroup* group = it == sight.groups.end() ? nullptr : &it->second;
  if (installed.restricted) {
    std::vector<std::string> ranges;
    for (const net::Prefix& range : installed.sources) ranges.push_back(range.to_string());
    row(out, "only from", ranges.empty() ? std::vector<std::string>{"nobody"} : ranges);
  }
  if (installed.external) {
    append_code(out, "pods, this node", installed.code, installed, group);
    append_code(out, "others", installed.external, installed, group);
  } else {
    append_code(out, "connections", installed.code, installed, group);
  }
  if (!installed.group || !installed.code) return;
  const auto clients = sight.clients.find(*installed.group);
  row(out, "affinity",
      base::cat(*installed.code & kArgument, " s, ", GroupKey{key.family, *installed.group}.to_string(), ", ",
                plural(clients == sight.clients.end() ? 0 : clients->second, "client")));
}

// The comments of one chain's rules that begin with `prefix`, without it.
std::vector<std::string> comments_of(const Sight& sight, std::string_view chain, std::string_view prefix = {}) {
  std::vector<std::string> out;
  for (const nft::DumpedRule& rule : sight.rules) {
    if (rule.chain == chain && rule.comment.starts_with(prefix)) out.push_back(rule.comment.substr(prefix.size()));
  }
  return out;
}

void append_node(std::string& out, const Sight& sight) {
  out += "node-wide\n";
  row(out, "pods", comments_of(sight, "strangers", "pods "));
  std::vector<std::string> addresses = comments_of(sight, "refused_nodeports");
  for (std::string& address : addresses) {
    if (address.ends_with("/0")) address = "every local address but loopback";
  }
  row(out, "node ports on", addresses.empty() ? std::vector<std::string>{"no address"} : addresses);
  const std::vector<std::string> ranges = comments_of(sight, "unallocated");
  row(out, "service ranges", ranges.empty() ? std::vector<std::string>{"unknown"} : ranges);
  char mark[16];
  std::snprintf(mark, sizeof mark, "0x%x", sight.settings->mark);
  row(out, "masquerade mark", mark);
  row(out, "invalid packets", sight.settings->drop_invalid ? "dropped when forwarded" : "passed");
  std::size_t clients = 0;
  for (const auto& [group, count] : sight.clients) clients += count;
  row(out, "sticky clients", base::cat(clients, " of at most ", kStickyClients));
}

Result<Sight> sight_of(nft::Kernel& kernel, const nft::TableId& id, const nft::TableDump& dump) {
  Sight sight;
  sight.id = id;
  sight.rules = dump.rules;
  sight.settings = settings_of(dump.comment);
  if (!sight.settings) return sight;
  // The NodeState is what the rules say, so it does not matter which one they are held against.
  Belief belief = TRY(read_belief(kernel, {id}, *sight.settings, {}));
  sight.mismatch = belief.tables.front().mismatch;
  sight.frontends.insert(belief.frontends.begin(), belief.frontends.end());
  sight.groups = std::move(belief.groups);
  TRY(kernel.dump_elements(id, kStickySet, [&](const nft::Element& element) {
    if (const auto client = parse_client(id.family, element)) ++sight.clients[client->group];
  }));
  return sight;
}

}  // namespace

Result<std::vector<Sight>> sights_of(nft::Kernel& kernel, const std::string& instance,
                                     const std::vector<net::Family>& families) {
  std::vector<Sight> sights;
  for (const net::Family family : families) {
    const nft::TableId id{family, instance};
    const auto dump = TRY(kernel.dump(id));
    if (dump) sights.push_back(TRY_CONTEXT(sight_of(kernel, id, *dump), "table " + id.to_string()));
  }
  return sights;
}

std::string text_of(const Sight& sight) {
  std::string out = base::cat("table ", sight.id.to_string());
  if (!sight.settings) return out + ": not of this version's layout, or somebody else's\n";
  if (!sight.mismatch.empty()) {
    return base::cat(out, ": ", sight.mismatch, "; a running agent writes the table again\n");
  }
  out += base::cat(": ", plural(sight.frontends.size(), "frontend"), "\n\n");
  for (const auto& [key, installed] : sight.frontends) {
    append_frontend(out, key, installed, sight);
    out += "\n";
  }
  append_node(out, sight);
  return out;
}

}  // namespace fairlead::proxy::dataplane::nftables
