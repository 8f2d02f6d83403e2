// tuning: sysctls of the pod's network namespace and attributes of its interface; what they were is kept in a file, in
// the reference plugin's form, and restored on DEL.
#include <fcntl.h>
#include <net/if.h>
#include <regex.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <utility>

#include "base/file.h"
#include "base/strings.h"
#include "cni-plugin/fields.h"
#include "cni-plugin/plugin.h"
#include "net/netns.h"
#include "net/rtnl.h"

namespace fairlead::cni {
namespace {

using base::cat;

constexpr std::string_view kDataDir = "/run/cni/tuning";
constexpr char kAllowlist[] = "/etc/cni/tuning/allowlist.conf";
constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();

using Sysctls = std::vector<std::pair<std::string, std::string>>;  // as the configuration writes them

// What a link is to be, or was.
struct Attributes {
  std::optional<net::Mac> mac;
  std::optional<bool> promiscuous;
  std::optional<std::uint32_t> mtu;
  std::optional<bool> all_multicast;
  std::optional<std::uint32_t> tx_queue_len;
  bool operator==(const Attributes&) const = default;
};

struct Tuning {
  Sysctls sysctls;
  Attributes link;
  std::string data_dir;
};

// `fields` over what is there already.
Status read_attributes(const Fields& fields, Attributes& out) {
  if (const auto mac = TRY(fields.text("mac")); mac && !mac->empty()) {
    auto parsed = net::parse_mac(*mac);
    if (!parsed) return fields.error("mac", parsed.error().message());
    out.mac = *parsed;
  }
  if (const auto promiscuous = TRY(fields.boolean("promisc"))) out.promiscuous = *promiscuous;
  if (const auto mtu = TRY(fields.integer("mtu", 0, kMost))) out.mtu = static_cast<std::uint32_t>(*mtu);
  if (const auto all = TRY(fields.boolean("allmulti"))) out.all_multicast = *all;
  if (const auto length = TRY(fields.integer("txQLen", 0, kMost)))
    out.tx_queue_len = static_cast<std::uint32_t>(*length);
  return {};
}

Status read_sysctls(const Fields& fields, Sysctls& out) {
  const base::Value& value = fields.raw("sysctl");
  if (value.is_null()) return {};
  const base::Value::Object* object = value.as_object();
  if (object == nullptr) return fields.error("sysctl", cat("must be an object, not ", value.type_name()));
  for (const auto& [key, wanted] : *object) {
    const std::string* text = wanted.as_string();
    if (text == nullptr) return fields.error("sysctl", cat(key, " must be a string, not ", wanted.type_name()));
    const auto known = std::find_if(out.begin(), out.end(), [&k = key](const auto& entry) { return entry.first == k; });
    if (known == out.end()) {
      out.emplace_back(key, *text);
    } else {
      known->second = *text;
    }
  }
  return {};
}

Result<std::string> read_data_dir(const Fields& config) {
  std::string data_dir = TRY(config.text("dataDir")).value_or("");
  return data_dir.empty() ? std::string(kDataDir) : std::move(data_dir);
}

// The last word on the address has args.cni, before that runtimeConfig, before that CNI_ARGS.
Result<Tuning> read_tuning(const Call& call) {
  const Fields config = TRY(Fields::of(call.config));
  Tuning tuning;
  TRY(read_sysctls(config, tuning.sysctls));
  TRY(read_attributes(config, tuning.link));
  tuning.data_dir = TRY(read_data_dir(config));
  if (const auto mac = call.args.find("MAC"); mac != call.args.end() && !mac->second.empty())
    tuning.link.mac = TRY_CONTEXT(net::parse_mac(mac->second), "CNI_ARGS: MAC");
  const Fields runtime = TRY(config.object("runtimeConfig"));
  if (const auto mac = TRY(runtime.text("mac")); mac && !mac->empty())
    tuning.link.mac = TRY_CONTEXT(net::parse_mac(*mac), "runtimeConfig.mac");
  const Fields all_args = TRY(config.object("args"));
  const Fields args = TRY(all_args.object("cni"));
  TRY(read_sysctls(args, tuning.sysctls));
  TRY(read_attributes(args, tuning.link));
  // Absence, to the reference plugin.
  if (tuning.link.promiscuous == false) tuning.link.promiscuous.reset();
  if (tuning.link.mtu == 0U) tuning.link.mtu.reset();
  return tuning;
}

// "net.ipv4.conf.IFNAME.arp_notify" -> "net/ipv4/conf/eth0/arp_notify". Every dot is a separator there, so that nothing
// leads out of net/; the interface's own dots come after.
Result<std::string> sysctl_path(const std::string& key, const std::string& ifname) {
  constexpr std::string_view kPlaceholder = "IFNAME";
  std::string path;
  for (const char c : key) {
    const char step = c == '.' ? '/' : c;
    if (step != '/' || (!path.empty() && path.back() != '/')) path += step;
  }
  if (const auto at = path.find(kPlaceholder); at != std::string::npos) path.replace(at, kPlaceholder.size(), ifname);
  if (!path.starts_with("net/"))
    return failure(code::kInvalidConfig, "sysctl: ", key, " is not allowed: only net.* belongs to a network namespace");
  return path;
}

class Pattern {
 public:
  static Result<Pattern> compile(const std::string& text) {
    Pattern pattern;
    if (const int error = ::regcomp(&pattern.compiled_, text.c_str(), REG_EXTENDED | REG_NOSUB); error != 0) {
      char why[128];
      ::regerror(error, &pattern.compiled_, why, sizeof why);
      return Error(cat(kAllowlist, ": \"", text, "\" is no extended regular expression: ", why));
    }
    pattern.set_ = true;
    return pattern;
  }
  Pattern(Pattern&& other) noexcept : compiled_(other.compiled_), set_(std::exchange(other.set_, false)) {}
  Pattern& operator=(Pattern&&) = delete;
  ~Pattern() {
    if (set_) ::regfree(&compiled_);
  }
  bool matches(const std::string& text) const { return ::regexec(&compiled_, text.c_str(), 0, nullptr, 0) == 0; }

 private:
  Pattern() = default;
  regex_t compiled_{};
  bool set_ = false;
};

// The administrator's word on which keys a configuration may set: a pattern per line, found anywhere in the key as the
// configuration writes it. Without the file everything of net.* is allowed.
Status allowed(const Sysctls& sysctls) {
  if (sysctls.empty()) return {};
  auto list = base::read_file(kAllowlist);
  if (!list && list.error().errno_value() == ENOENT) return {};
  const std::string text = TRY(std::move(list));
  std::vector<Pattern> patterns;
  for (const std::string_view line : base::split(text, '\n')) {
    if (const auto pattern = base::trim(line); !pattern.empty())
      patterns.push_back(TRY(Pattern::compile(std::string(pattern))));
  }
  for (const auto& [key, value] : sysctls) {
    if (std::none_of(patterns.begin(), patterns.end(), [&k = key](const Pattern& p) { return p.matches(k); }))
      return failure(code::kInvalidConfig, "sysctl: ", key, " is not allowed: no line of ", kAllowlist, " matches it");
  }
  return {};
}

// Twice the same key would leave to chance which one counts.
Status no_key_twice(const Call& call) {
  if (auto parsed = base::parse_json(call.stdin_text); !parsed)
    return failure(code::kDecode, "duplicate keys are not allowed: ", parsed.error().message());
  return {};
}

Attributes present(const net::LinkInfo& link) {
  return {.mac = link.mac,
          .promiscuous = (link.flags & IFF_PROMISC) != 0,
          .mtu = link.mtu,
          .all_multicast = (link.flags & IFF_ALLMULTI) != 0,
          .tx_queue_len = link.tx_queue_len};
}

// The members of `from` that `which` has.
Attributes chosen(const Attributes& from, const Attributes& which) {
  Attributes out;
  if (which.mac) out.mac = from.mac;
  if (which.promiscuous) out.promiscuous = from.promiscuous;
  if (which.mtu) out.mtu = from.mtu;
  if (which.all_multicast) out.all_multicast = from.all_multicast;
  if (which.tx_queue_len) out.tx_queue_len = from.tx_queue_len;
  return out;
}

// With the members of `more` that it does not have.
Attributes completed(Attributes out, const Attributes& more) {
  if (!out.mac) out.mac = more.mac;
  if (!out.promiscuous) out.promiscuous = more.promiscuous;
  if (!out.mtu) out.mtu = more.mtu;
  if (!out.all_multicast) out.all_multicast = more.all_multicast;
  if (!out.tx_queue_len) out.tx_queue_len = more.tx_queue_len;
  return out;
}

net::NetlinkMessage change(std::uint32_t link, const Attributes& to) {
  return net::change_link({.index = link,
                           .mac = to.mac,
                           .mtu = to.mtu,
                           .tx_queue_len = to.tx_queue_len,
                           .promiscuous = to.promiscuous,
                           .all_multicast = to.all_multicast});
}

std::string backup_path(const Call& call, const std::string& data_dir) {
  return cat(data_dir, "/", call.attachment.container_id, "_", call.attachment.ifname, ".json");
}

// Known by name, so that DEL finds what a cut-off ADD left.
std::string unfinished(const std::string& path) { return cat(path, ".tmp"); }

base::Value to_value(const Attributes& attributes) {
  base::Value out{base::Value::Object()};
  if (attributes.mac) out.set("mac", base::Value(net::to_string(*attributes.mac)));
  if (attributes.promiscuous) out.set("promisc", base::Value(*attributes.promiscuous));
  if (attributes.mtu) out.set("mtu", base::Value(std::int64_t{*attributes.mtu}));
  if (attributes.all_multicast) out.set("allmulti", base::Value(*attributes.all_multicast));
  if (attributes.tx_queue_len) out.set("txQLen", base::Value(std::int64_t{*attributes.tx_queue_len}));
  return out;
}

Result<std::optional<Attributes>> read_backup(const std::string& path) {
  auto text = base::read_file(path);
  if (!text && text.error().errno_value() == ENOENT) return std::optional<Attributes>();
  const std::string content = TRY(std::move(text));
  const base::Value value = TRY_CONTEXT(base::parse_json(content, base::Duplicates::LastWins), path);
  const Fields fields = TRY_CONTEXT(Fields::of(value), path);
  Attributes out;
  TRY_CONTEXT(read_attributes(fields, out), path);
  return std::optional<Attributes>(out);
}

// What an earlier ADD, or an earlier entry of the chain, kept stays: it saw the link before the first change.
Status keep_backup(const std::string& path, const std::string& data_dir, const Attributes& before) {
  const auto earlier = read_backup(path);
  const Attributes all = earlier && *earlier ? completed(**earlier, before) : before;
  if (earlier && *earlier == all) return {};
  TRY(base::make_directories(data_dir, 0700));
  return base::write_file_atomically(path, base::to_json(to_value(all), base::JsonStyle::Indented), 0600,
                                     unfinished(path));
}

Result<net::Netns> pod_of(const Call& call) {
  auto pod = net::Netns::open(call.netns);
  if (!pod) return std::move(pod).error().with_code(code::kInvalidNetns);
  return pod;
}

// A link that gets another MAC forgets its neighbours, permanent ones too (linux v6.1 net/core/neighbour.c
// neigh_changeaddr), and nobody answers for a routed pod's gateway.
Status apply(net::Rtnl& inside, std::uint32_t link, const Attributes& to) {
  std::vector<net::NetlinkMessage> messages{change(link, to)};
  if (to.mac) {
    for (const net::NeighbourInfo& one : TRY(inside.list_neighbours(link))) {
      if (one.permanent) messages.push_back(net::replace_neighbour(one));
    }
  }
  return inside.order(messages);
}

struct MacChange {
  net::Mac from{}, to{};
};

// The host may hold the pod's addresses by its old MAC: those of a routed pod for ever, a bridge's for half a minute.
Status tell_host(const Call& call, const MacChange& change) {
  if (!call.previous || change.from == change.to) return {};
  const auto& ips = call.previous->ips;
  net::Rtnl host = TRY(net::Rtnl::open());
  std::vector<net::NetlinkMessage> messages;
  for (net::NeighbourInfo& one : TRY(host.list_neighbours(0))) {
    const bool is_pods = one.mac == change.from && std::any_of(ips.begin(), ips.end(), [&](const IpConfig& ip) {
                           return ip.address.address == one.address;
                         });
    if (!is_pods) continue;
    one.mac = change.to;
    messages.push_back(net::replace_neighbour(one));
  }
  return host.order(messages);
}

// In the pod's namespace; `changed` when the MAC is another one now.
Status tune(const Call& call, const Tuning& tuning, std::optional<MacChange>& changed) {
  const std::string& ifname = call.attachment.ifname;
  for (const auto& [key, value] : tuning.sysctls) {
    const std::string path = TRY(sysctl_path(key, ifname));
    TRY_CONTEXT(net::write_sysctl(path, value), cat("sysctl ", key));
  }
  if (tuning.link == Attributes()) return {};
  net::Rtnl inside = TRY(net::Rtnl::open());
  const net::LinkInfo link = TRY(inside.link(ifname));
  TRY(keep_backup(backup_path(call, tuning.data_dir), tuning.data_dir, chosen(present(link), tuning.link)));
  TRY(apply(inside, link.index, tuning.link));
  if (tuning.link.mac) changed = MacChange{link.mac, *tuning.link.mac};
  return {};
}

Result<NetResult> add(const Call& call, const World&) {
  TRY(no_key_twice(call));
  const Tuning tuning = TRY(read_tuning(call));
  TRY(allowed(tuning.sysctls));
  if (!call.previous) return failure(code::kInvalidConfig, "tuning: must be called as a chained plugin: no prevResult");
  const net::Netns pod = TRY(pod_of(call));
  std::optional<MacChange> changed;
  Status tuned = pod.run([&] { return tune(call, tuning, changed); });
  TRY(std::move(tuned));
  if (changed) TRY_CONTEXT(tell_host(call, *changed), "the host's neighbours");
  NetResult result = *call.previous;
  for (Interface& interface : result.interfaces) {
    if (interface.name != call.attachment.ifname || interface.sandbox.empty()) continue;
    if (tuning.link.mac) interface.mac = net::to_string(*tuning.link.mac);
    if (tuning.link.mtu && interface.mtu != 0) interface.mtu = *tuning.link.mtu;
  }
  return result;
}

Status restore(const Call& call, const std::string& path) {
  const auto backup = TRY(read_backup(path));
  const auto pod = net::Netns::open(call.netns);
  if (!backup || !pod) return {};
  std::optional<MacChange> changed;
  Status restored = pod->run([&]() -> Status {
    net::Rtnl inside = TRY(net::Rtnl::open());
    const auto link = TRY(inside.find_link(call.attachment.ifname));
    if (!link) return {};
    TRY(apply(inside, link->index, *backup));
    if (backup->mac) changed = MacChange{link->mac, *backup->mac};
    return {};
  });
  TRY(std::move(restored));
  return changed ? tell_host(call, *changed) : Status();
}

// Best effort: the interface goes in a moment, and neither a file nobody can read nor a configuration that no ADD would
// take must keep it.
Status del(const Call& call, const World&) {
  const Fields config = TRY(Fields::of(call.config));
  const auto data_dir = read_data_dir(config);
  if (!data_dir) return {};  // no ADD has come to write anything
  const std::string path = backup_path(call, *data_dir);
  if (const Status restored = restore(call, path); !restored) {
    std::fputs(cat("tuning: restore ", call.attachment.ifname, ": ", restored.error().message(), "\n").c_str(), stderr);
  }
  for (const std::string& file : {unfinished(path), path}) {
    if (::unlink(file.c_str()) != 0 && errno != ENOENT && errno != ENOTDIR)
      return Error::from_errno(cat("remove ", file), errno);
  }
  return {};
}

// The kernel puts tabs between the numbers of a list.
std::string with_blanks(std::string text) {
  std::replace(text.begin(), text.end(), '\t', ' ');
  return text;
}

Status check_tuned(const Call& call, const Tuning& tuning) {
  const std::string& ifname = call.attachment.ifname;
  for (const auto& [key, value] : tuning.sysctls) {
    const std::string path = TRY(sysctl_path(key, ifname));
    const std::string has = TRY(net::read_sysctl(path));
    if (with_blanks(has) != with_blanks(value)) return Error(cat("sysctl ", key, ": is ", has, ", wanted is ", value));
  }
  if (tuning.link == Attributes()) return {};
  net::Rtnl inside = TRY(net::Rtnl::open());
  const net::LinkInfo link = TRY(inside.link(ifname));
  const Attributes has = chosen(present(link), tuning.link);
  if (has == tuning.link) return {};
  return Error(
      cat(ifname, ": is ", base::to_json(to_value(has)), ", wanted is ", base::to_json(to_value(tuning.link))));
}

Status check(const Call& call, const World&) {
  TRY(no_key_twice(call));
  const Tuning tuning = TRY(read_tuning(call));
  if (!call.previous) return failure(code::kInvalidConfig, "tuning: must be called as a chained plugin: no prevResult");
  const net::Netns pod = TRY(pod_of(call));
  return pod.run([&] { return check_tuned(call, tuning); });
}

}  // namespace

const Plugin kTuning = {.name = "tuning",
                        .oldest_version = "0.1.0",
                        .about = "CNI tuning plugin: sets sysctls and attributes of a pod's interface",
                        .add = add,
                        .del = del,
                        .check = check};

}  // namespace fairlead::cni
