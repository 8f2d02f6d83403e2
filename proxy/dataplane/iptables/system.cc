#include "proxy/dataplane/iptables/system.h"

#include <fcntl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/file.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "proxy/dataplane/iptables/names.h"

namespace fairlead::proxy::dataplane::iptables {
namespace {

constexpr std::string_view kGeneration = "generation ";

using base::cat;

constexpr net::Family kFamilies[] = {net::Family::V4, net::Family::V6};
constexpr long kTickNs = 500'000'000;

// linux v6.1 include/uapi/linux/netfilter_ipv4/ip_tables.h, the same for IPv6. Not included: it needs net/if.h, which
// does not go together with linux/if.h everywhere.
constexpr int kGetInfo = 64;     // IPT_SO_GET_INFO, IP6T_SO_GET_INFO
constexpr int kGetEntries = 65;  // IPT_SO_GET_ENTRIES, IP6T_SO_GET_ENTRIES
struct TableInfo {               // struct ipt_getinfo
  char name[32];
  unsigned valid_hooks;
  unsigned hook_entry[5];
  unsigned underflow[5];
  unsigned num_entries;
  unsigned size;
};
constexpr std::size_t kEntriesHeader = 40;  // struct ipt_get_entries: name, size, padding

// Rules in ip_tables, without changing anything: asking for a table makes it, so only those that are listed are asked.
class LegacyTables {
 public:
  std::optional<TableInfo> info(net::Family family, Table table) {
    if (!listed(family, table)) return std::nullopt;
    TableInfo info{};
    std::memcpy(info.name, to_string(table).data(), to_string(table).size());
    socklen_t length = sizeof info;
    if (::getsockopt(socket(family), level(family), kGetInfo, &info, &length) != 0) return std::nullopt;
    return info;
  }

  bool has_chain(net::Family family, Table table, std::string_view chain) {
    const auto what = info(family, table);
    if (!what) return false;
    std::vector<char> entries(kEntriesHeader + what->size);
    std::memcpy(entries.data(), what->name, sizeof what->name);
    std::memcpy(entries.data() + sizeof what->name, &what->size, sizeof what->size);
    auto length = static_cast<socklen_t>(entries.size());
    if (::getsockopt(socket(family), level(family), kGetEntries, entries.data(), &length) != 0) return false;
    // A chain begins with a rule whose target ERROR carries its name as a string.
    const std::string name = std::string(chain) + '\0';
    return std::string_view(entries.data(), entries.size()).find(name) != std::string_view::npos;
  }

 private:
  static int level(net::Family family) { return family == net::Family::V4 ? SOL_IP : SOL_IPV6; }

  int socket(net::Family family) {
    base::Fd& fd = sockets_[family == net::Family::V4 ? 0 : 1];
    if (!fd)
      fd = base::Fd(::socket(family == net::Family::V4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
    return fd.get();
  }

  static bool listed(net::Family family, Table table) {
    const auto names = base::read_file(family == net::Family::V4 ? "/proc/thread-self/net/ip_tables_names"
                                                                 : "/proc/thread-self/net/ip6_tables_names");
    if (!names) return false;
    for (const std::string_view name : base::split(*names, '\n')) {
      if (name == to_string(table)) return true;
    }
    return false;
  }

  std::array<base::Fd, 2> sockets_;
};

// Two questions to nf_tables. net/nft/ transports whole tables of ours; this asks about others' and wants no answer
// beyond a number.
class NftTables {
 public:
  NftTables() : socket_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER)) {
    const timeval limit{1, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }

  // Counts the transactions of this namespace; empty without nf_tables.
  std::optional<std::uint32_t> generation() {
    const auto answer = ask(NFT_MSG_GETGEN, AF_UNSPEC, {});
    if (!answer) return std::nullopt;
    std::size_t at = sizeof(nlmsghdr) + sizeof(nfgenmsg);
    while (at + sizeof(nlattr) + 4 <= answer->size()) {
      nlattr attribute{};
      std::memcpy(&attribute, answer->data() + at, sizeof attribute);
      if (attribute.nla_type == NFTA_GEN_ID) {
        std::uint32_t value = 0;
        std::memcpy(&value, answer->data() + at + sizeof attribute, sizeof value);
        return ntohl(value);
      }
      at += NLMSG_ALIGN(std::max<std::size_t>(attribute.nla_len, sizeof attribute));
    }
    return std::nullopt;
  }

  bool has_chain(net::Family family, std::string_view table, std::string_view chain) {
    return ask(NFT_MSG_GETCHAIN, family == net::Family::V4 ? AF_INET : AF_INET6,
               {{NFTA_CHAIN_TABLE, table}, {NFTA_CHAIN_NAME, chain}})
        .has_value();
  }

 private:
  using Attributes = std::vector<std::pair<std::uint16_t, std::string_view>>;

  // One question, one answer; nothing for an error.
  std::optional<std::vector<char>> ask(int message, int family, const Attributes& attributes) {
    std::vector<char> request(sizeof(nlmsghdr) + sizeof(nfgenmsg));
    for (const auto& [type, value] : attributes) {
      const nlattr header{static_cast<std::uint16_t>(sizeof header + value.size() + 1), type};
      const std::size_t at = request.size();
      request.resize(at + NLMSG_ALIGN(header.nla_len));
      std::memcpy(request.data() + at, &header, sizeof header);
      std::memcpy(request.data() + at + sizeof header, value.data(), value.size());
    }
    nlmsghdr header{};
    header.nlmsg_len = static_cast<std::uint32_t>(request.size());
    header.nlmsg_type = static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8) | message);
    header.nlmsg_flags = NLM_F_REQUEST;
    header.nlmsg_seq = ++sequence_;
    std::memcpy(request.data(), &header, sizeof header);
    const nfgenmsg body{static_cast<std::uint8_t>(family), NFNETLINK_V0, 0};
    std::memcpy(request.data() + sizeof header, &body, sizeof body);
    if (::send(socket_.get(), request.data(), request.size(), 0) < 0) return std::nullopt;
    for (;;) {
      std::vector<char> answer(8192);
      const ssize_t n = ::recv(socket_.get(), answer.data(), answer.size(), 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < static_cast<ssize_t>(sizeof header)) return std::nullopt;
      answer.resize(static_cast<std::size_t>(n));
      std::memcpy(&header, answer.data(), sizeof header);
      if (header.nlmsg_seq != sequence_) continue;  // of a question that was given up
      if (header.nlmsg_type == NLMSG_ERROR) return std::nullopt;
      return answer;
    }
  }

  base::Fd socket_;
  std::uint32_t sequence_ = 0;
};

class Netfilter final : public System {
 public:
  Netfilter(std::chrono::milliseconds deadline, base::Fd timer) : deadline_(deadline), timer_(std::move(timer)) {}

  Result<std::string> save(Flavour flavour, net::Family family) override {
    return base::run_checked({program(flavour, family, "save")}, {}, deadline_);
  }
  Status restore(Flavour flavour, net::Family family, const std::string& input) override {
    TRY(base::run_checked({program(flavour, family, "restore"), "--noflush", "--counters", "-w", "5"}, input,
                          deadline_));
    return {};
  }
  Status test(Flavour flavour, net::Family family, const std::string& input) override {
    TRY(base::run_checked({program(flavour, family, "restore"), "--test", "--noflush", "-w", "5"}, input, deadline_));
    return {};
  }

  bool has_chain(Flavour flavour, net::Family family, Table table, std::string_view chain) override {
    return flavour == Flavour::Nft ? nft_.has_chain(family, to_string(table), chain)
                                   : legacy_.has_chain(family, table, chain);
  }

  std::string fingerprint(Flavour flavour) override {
    if (flavour == Flavour::Nft) return cat(kGeneration, nft_.generation().value_or(0));
    std::string out;
    for (const net::Family family : kFamilies) {
      for (const Table table : kTables) {
        const auto info = legacy_.info(family, table);
        if (info) out.append(reinterpret_cast<const char*>(&*info), sizeof *info);
        out.push_back(info ? '+' : '-');
      }
    }
    return out;
  }

  // A commit of iptables-nft-restore is a transaction, and a transaction a generation (linux v6.1
  // net/netfilter/nf_tables_api.c nf_tables_commit).
  std::string fingerprint_after(Flavour flavour, const std::string& before, std::uint32_t commits) override {
    if (flavour != Flavour::Nft || !before.starts_with(kGeneration)) return {};
    const auto generation = base::parse_number<std::uint32_t>(before.substr(kGeneration.size()));
    return generation ? cat(kGeneration, *generation + commits) : std::string();
  }

  // A thread's own network namespace decides what stands below /proc/sys/net (linux v6.1 net/sysctl_net.c).
  std::string read_sysctl(const std::string& name) override {
    const auto text = base::read_file("/proc/sys/" + name);
    return text ? std::string(base::trim(*text)) : std::string();
  }
  Status write_sysctl(const std::string& name, const std::string& value) override {
    const std::string path = "/proc/sys/" + name;
    const base::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd || ::write(fd.get(), value.data(), value.size()) < 0) return Error::from_errno(path, errno);
    return {};
  }

  int timer_fd() const override { return timer_.get(); }
  void acknowledge_timer() override {
    std::uint64_t ticks = 0;
    (void)!::read(timer_.get(), &ticks, sizeof ticks);
  }

 private:
  static std::string program(Flavour flavour, net::Family family, std::string_view what) {
    return cat(family == net::Family::V4 ? "iptables-" : "ip6tables-", to_string(flavour), "-", what);
  }

  std::chrono::milliseconds deadline_;
  base::Fd timer_;
  LegacyTables legacy_;
  NftTables nft_;
};

// Rules of others, and of no chain of Kubernetes.
std::uint32_t foreign_rules(System& system, Flavour flavour) {
  std::uint32_t count = 0;
  for (const net::Family family : kFamilies) {
    const auto text = system.save(flavour, family);
    if (!text) continue;
    std::size_t at = 0;
    while ((at = text->find("\n-A ", at)) != std::string::npos) {
      at += 4;
      const std::string_view line = std::string_view(*text).substr(at, text->find('\n', at) - at);
      if (line.find("KUBE-") == std::string_view::npos) ++count;
    }
  }
  return count;
}

bool has_hint(System& system, Flavour flavour) {
  for (const net::Family family : kFamilies) {
    for (const std::string_view chain : {kKubeletHint, kKubeletCanary}) {
      if (system.has_chain(flavour, family, Table::Mangle, chain)) return true;
    }
  }
  return false;
}

}  // namespace

std::string_view to_string(Flavour flavour) { return flavour == Flavour::Nft ? "nft" : "legacy"; }

Result<std::unique_ptr<System>> open_system(std::chrono::milliseconds deadline) {
  base::Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  const itimerspec every{{0, kTickNs}, {0, kTickNs}};
  if (!timer || ::timerfd_settime(timer.get(), 0, &every, nullptr) != 0) return Error::from_errno("timerfd", errno);
  return std::unique_ptr<System>(std::make_unique<Netfilter>(deadline, std::move(timer)));
}

Result<Choice> choose_flavour(System& system, std::string_view wanted) {
  for (const Flavour flavour : kFlavours) {
    if (wanted == to_string(flavour)) return Choice{flavour, "asked for"};
  }
  if (wanted != "auto") return Error(cat("no iptables flavour \"", wanted, "\": allowed are auto, nft, legacy"));
  for (const Flavour flavour : kFlavours) {
    if (has_hint(system, flavour)) return Choice{flavour, "kubelet's chains are there"};
  }
  const std::uint32_t nft = foreign_rules(system, Flavour::Nft);
  const std::uint32_t legacy = foreign_rules(system, Flavour::Legacy);
  if (nft != legacy) {
    return Choice{nft > legacy ? Flavour::Nft : Flavour::Legacy,
                  cat("others have ", nft, " rules in nft, ", legacy, " in legacy")};
  }
  const auto works = [&](Flavour flavour) { return system.test(flavour, net::Family::V4, "*nat\nCOMMIT\n"); };
  const Status nft_works = works(Flavour::Nft);
  if (nft_works) return Choice{Flavour::Nft, "nothing speaks for legacy"};
  const Status legacy_works = works(Flavour::Legacy);
  if (legacy_works) return Choice{Flavour::Legacy, "nft does not work"};
  return Error(cat("nft: ", nft_works.error().message(), "; legacy: ", legacy_works.error().message()));
}

}  // namespace fairlead::proxy::dataplane::iptables
