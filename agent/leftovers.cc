#include "agent/leftovers.h"

#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <set>
#include <utility>

#include "base/file.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "net/nft/netlink.h"
#include "net/remnants.h"

namespace fairlead::agent {
namespace {

using base::cat;

constexpr const char* kTable = "kube-proxy";
constexpr const char* kIpvsLink = "kube-ipvs0";

constexpr std::array<std::string_view, 8> kChains = {"KUBE-SERVICES",       "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS",
                                                     "KUBE-POSTROUTING",    "KUBE-FORWARD",           "KUBE-MARK-MASQ",
                                                     "KUBE-PROXY-FIREWALL", "KUBE-PROXY-CANARY"};
constexpr std::array<std::string_view, 6> kChainStems = {"KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-",
                                                         "KUBE-FW-",  "KUBE-SEP-", "KUBE-XLB-"};
constexpr std::array<std::string_view, 5> kIpvsChains = {
    "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", "KUBE-SOURCE-RANGES-FIREWALL", "KUBE-IPVS-FILTER", "KUBE-IPVS-OUT-FILTER"};
// Without "KUBE-" and, for IPv6, "KUBE-6-".
constexpr std::array<std::string_view, 16> kSets = {"LOOP-BACK",
                                                    "CLUSTER-IP",
                                                    "EXTERNAL-IP",
                                                    "EXTERNAL-IP-LOCAL",
                                                    "LOAD-BALANCER",
                                                    "LOAD-BALANCER-FW",
                                                    "LOAD-BALANCER-LOCAL",
                                                    "LOAD-BALANCER-SOURCE-IP",
                                                    "LOAD-BALANCER-SOURCE-CIDR",
                                                    "NODE-PORT-TCP",
                                                    "NODE-PORT-LOCAL-TCP",
                                                    "NODE-PORT-UDP",
                                                    "NODE-PORT-LOCAL-UDP",
                                                    "NODE-PORT-SCTP-HASH",
                                                    "NODE-PORT-LOCAL-SCTP-HASH",
                                                    "IPVS-IPS"};
constexpr std::string_view kHealthSet = "HEALTH-CHECK-NODE-PORT";
constexpr std::size_t kMaxSetName = 31;  // longer names are cut (IPSET_MAXNAMELEN)

template <typename List>
bool contains(const List& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// Words of a rule as iptables-save prints it; a quoted one may hold spaces.
std::vector<std::string_view> words_of(std::string_view rule) {
  std::vector<std::string_view> words;
  std::size_t at = 0;
  while ((at = rule.find_first_not_of(' ', at)) != std::string_view::npos) {
    std::size_t end = at;
    bool quoted = false;
    for (; end < rule.size() && (quoted || rule[end] != ' '); ++end) {
      if (rule[end] == '\\') {
        ++end;
      } else if (rule[end] == '"') {
        quoted = !quoted;
      }
    }
    words.push_back(rule.substr(at, std::min(end, rule.size()) - at));
    at = std::min(end, rule.size());
  }
  return words;
}

std::string_view target_of(const std::vector<std::string_view>& words) {
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "-j" || words[i] == "-g") return words[i + 1];
  }
  return {};
}

struct SavedTable {
  std::string_view name;
  std::set<std::string_view> built_in;
  std::vector<std::string_view> ours;       // chains to go
  std::vector<std::string_view> jumps;      // rules of built-in chains that lead there
  std::set<std::string_view> used_outside;  // chains that somebody else's lead to
};

void add_line(SavedTable& table, std::string_view line, const Spared& spared) {
  const std::vector<std::string_view> words = words_of(line);
  if (words.size() < 2) return;
  if (line.front() == ':') {
    const std::string_view chain = words[0].substr(1);
    if (words[1] != "-") table.built_in.insert(chain);
    if (is_kube_proxy_chain(chain, spared)) table.ours.push_back(chain);
    return;
  }
  const std::string_view chain = words[1];
  const std::string_view target = target_of(words);
  if (words[0] != "-A" || is_kube_proxy_chain(chain, spared) || !is_kube_proxy_chain(target, spared)) return;
  if (table.built_in.contains(chain)) {
    table.jumps.push_back(line);
  } else {
    table.used_outside.insert(target);
  }
}

// Declaring a chain empties it (man 8 iptables-restore, --noflush), so that nothing refers to what is then deleted.
void append(ChainRemoval& out, const SavedTable& table) {
  if (table.ours.empty()) return;
  out.input += cat("*", table.name, "\n");
  for (const std::string_view chain : table.ours) out.input += cat(":", chain, " - [0:0]\n");
  for (const std::string_view rule : table.jumps) out.input += cat("-D", rule.substr(2), "\n");
  for (const std::string_view chain : table.ours) {
    if (table.used_outside.contains(chain)) {
      out.emptied.push_back(cat(table.name, " ", chain));
    } else {
      out.input += cat("-X ", chain, "\n");
    }
  }
  out.input += "COMMIT\n";
}

bool is_installed(const std::string& program) {
  const char* path = std::getenv("PATH");
  for (const std::string_view folder : base::split(path == nullptr ? "" : path, ':')) {
    if (!folder.empty() && ::access(cat(folder, "/", program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

struct Flavour {
  std::string program;  // "iptables-legacy": with -save and -restore behind it
  std::string shown;    // "legacy"
  std::string tables;   // file with the names of legacy tables in use; empty: nftables
  int family = AF_INET;
};

// /proc/net would be the namespace of the process's first thread.
std::vector<Flavour> flavours() {
  return {{"iptables-legacy", "legacy", "/proc/thread-self/net/ip_tables_names", AF_INET},
          {"ip6tables-legacy", "legacy", "/proc/thread-self/net/ip6_tables_names", AF_INET6},
          {"iptables-nft", "nft", "", AF_INET},
          {"ip6tables-nft", "nft", "", AF_INET6}};
}

// Asking for legacy tables that are not in use would load them.
bool in_use(const Flavour& flavour) {
  if (flavour.tables.empty()) return true;
  const auto names = base::read_file(flavour.tables, 4096);
  return names && !base::trim(*names).empty();
}

Result<std::string> saved_by(const Flavour& flavour) { return base::run_checked({flavour.program + "-save"}); }

// By a chain that is short in both of its modes: listing a table of 100,000 rules would take a second.
Result<bool> has_chains(const Flavour& flavour, const Spared& spared) {
  const std::string chain = spared.iptables_chains ? "KUBE-LOAD-BALANCER" : "KUBE-POSTROUTING";
  if (flavour.tables.empty()) return net::nft_has(flavour.family, "nat", chain);
  if (!in_use(flavour) || !is_installed(flavour.program)) return false;
  const auto listed = TRY(base::run_process({flavour.program, "-w", "5", "-t", "nat", "-S", chain}));
  return listed.exit_code == 0;  // 1: no such chain (or table)
}

class Removal {
 public:
  explicit Removal(const Spared& spared) : spared_(spared) {}

  void chains(const Flavour& flavour) {
    if (!in_use(flavour)) return;
    if (!is_installed(flavour.program + "-save")) {
      done_.push_back(cat(flavour.program, ": not installed, not looked at"));
      return;
    }
    const auto saved = saved_by(flavour);
    if (!saved) return failed(saved.error());
    const ChainRemoval removal = chain_removal(*saved, spared_);
    if (removal.input.empty()) return;
    const auto restored = base::run_checked({flavour.program + "-restore", "--noflush", "-w", "5"}, removal.input);
    if (!restored) return failed(restored.error());
    done_.push_back(cat(flavour.program, ": chains removed"));
    for (const std::string& chain : removal.emptied) {
      done_.push_back(cat(flavour.program, ": ", chain, " emptied, others still jump to it"));
    }
  }

  // Virtual services belong to nobody; kube-proxy's interface is the sign that they are its.
  void ipvs() {
    const bool was_here = ::if_nametoindex(kIpvsLink) != 0;
    if (was_here) {
      if (const Status flushed = net::flush_ipvs(); !flushed) return failed(flushed.error());
      if (const Status deleted = net::delete_link(kIpvsLink); !deleted) return failed(deleted.error());
      done_.push_back(cat("IPVS: virtual services and ", kIpvsLink, " removed"));
    }
    const auto sets = net::list_ipsets();
    if (!sets) return failed(sets.error());
    for (const std::string& set : *sets) {
      if (!is_kube_proxy_set(set)) continue;
      if (const Status gone = net::destroy_ipset(set); !gone) {
        failed(gone.error());
      } else {
        done_.push_back(cat("ipset ", set, ": removed"));
      }
    }
  }

  void tables() {
    if (spared_.nft_table) return;
    for (const net::Family family : {net::Family::V4, net::Family::V6}) {
      const auto there = net::nft_has(family == net::Family::V4 ? AF_INET : AF_INET6, kTable);
      if (!there) return failed(there.error());
      if (*there) table({family, kTable});
    }
  }

  Result<std::vector<std::string>> result() && {
    if (!failures_.empty()) return Error(base::join(failures_, "; "));
    return std::move(done_);
  }

 private:
  void failed(const Error& error) { failures_.push_back(error.message()); }

  void table(const net::nft::TableId& id) {
    const auto kernel = net::nft::open_netlink();
    if (!kernel) return failed(kernel.error());
    if (const auto refusal = (*kernel)->commit({net::nft::DeleteTable{id}})) return failed(refusal->error);
    done_.push_back(cat("nftables: table ", id.to_string(), " removed"));
  }

  const Spared spared_;
  std::vector<std::string> done_;
  std::vector<std::string> failures_;
};

}  // namespace

bool is_kube_proxy_chain(std::string_view name, const Spared& spared) {
  if (contains(kIpvsChains, name)) return true;
  if (spared.iptables_chains) return false;
  return contains(kChains, name) || std::any_of(kChainStems.begin(), kChainStems.end(),
                                                [&](std::string_view stem) { return name.starts_with(stem); });
}

bool is_kube_proxy_set(std::string_view name) {
  for (const std::string_view stem : {"KUBE-", "KUBE-6-"}) {
    const auto is_set = [&](std::string_view set) { return name == cat(stem, set).substr(0, kMaxSetName); };
    if (is_set(kHealthSet) || std::any_of(kSets.begin(), kSets.end(), is_set)) return true;
  }
  return false;
}

ChainRemoval chain_removal(std::string_view saved, const Spared& spared) {
  ChainRemoval out;
  SavedTable table;
  for (const std::string_view line : base::split(saved, '\n')) {
    if (line.starts_with('*')) {
      table = {};
      table.name = line.substr(1);
    } else if (line == "COMMIT") {
      append(out, table);
    } else if (line.starts_with(':') || line.starts_with("-A ")) {
      add_line(table, line, spared);
    }
  }
  return out;
}

Result<std::vector<std::string>> find_kube_proxy(const Spared& spared) {
  std::vector<std::string> found;
  for (const Flavour& flavour : flavours()) {
    std::string name = cat("iptables (", flavour.shown, ")");
    if (!contains(found, name) && TRY(has_chains(flavour, spared))) found.push_back(std::move(name));
  }
  if (::if_nametoindex(kIpvsLink) != 0) found.emplace_back("IPVS");
  for (const int family : {AF_INET, AF_INET6}) {
    if (!spared.nft_table && !contains(found, "nftables") && TRY(net::nft_has(family, kTable))) {
      found.emplace_back("nftables");
    }
  }
  return found;
}

Result<std::vector<std::string>> remove_kube_proxy(const Spared& spared) {
  Removal removal(spared);
  for (const Flavour& flavour : flavours()) removal.chains(flavour);
  removal.ipvs();  // rules that use its sets are gone
  removal.tables();
  return std::move(removal).result();
}

}  // namespace fairlead::agent
