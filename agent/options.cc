#include "agent/options.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>
#include <utility>

#include "agent/flags.h"
#include "agent/kube_proxy_settings.h"
#include "agent/mounts.h"
#include "agent/time_text.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

using base::cat;
using base::log::Format;
using base::log::Level;

// Fairlead's own; no field of a KubeProxyConfiguration stands for them, so they count with --config too.
constexpr Flag kOwnFlags[] = {
    {.name = "bpf-root", .value = "DIR", .help = "bpffs to pin into (default: /sys/fs/bpf, mounted when missing)"},
    {.name = "cgroup", .value = "DIR", .help = "cgroup2 to attach socket load balancing to (default: the root of it)"},
    {.name = "cni-bin-dir", .value = "DIR", .help = "Install the CNI binary here (the runtime's: /opt/cni/bin)"},
    {.name = "cni-binary", .value = "FILE", .help = "The CNI binary (default: fairlead-cni beside fairlead-agent)"},
    {.name = "cni-bridge", .value = "NAME", .help = "Bridge of the pods, with --cni-link bridge (default: cni0)"},
    {.name = "cni-conf-dir",
     .value = "DIR",
     .help =
         "Be the pod network: write its configuration here (the runtime's: /etc/cni/net.d) once pods can be served"},
    {.name = "cni-conf-on-exit", .value = "WHAT", .help = "leave or remove it (default: leave)"},
    {.name = "cni-gc-period",
     .value = "DURATION",
     .help = "How often to look for what pods without a sandbox left; it goes when seen twice (default: 1m)"},
    {.name = "cni-link", .value = "KIND", .help = "How pods are attached: bridge or routed (default: bridge)"},
    {.name = "cni-namespaces-of",
     .value = "PID",
     .help = "A process in the runtime's mount and network namespaces: 1 for an agent in a container with hostPID"},
    {.name = "cni-network",
     .value = "NAME",
     .help = "The network's name; that of the one before, to take over its addresses (default: fairlead)"},
    {.name = "cni-mtu", .value = "BYTES", .help = "MTU of pods (default: that of the way to the other nodes)"},
    {.name = "clean-kube-proxy", .value = "", .help = "Remove what a kube-proxy left, once the first sync is done"},
    {.name = "conntrack-clean-half-open",
     .value = "",
     .help = "Also forget TCP and SCTP connections that no endpoint answered, when it does not serve any more"},
    {.name = "dataplane", .value = "NAME", .help = "auto, ebpf, nftables or iptables (default: auto)"},
    {.name = "instance", .value = "NAME", .help = "Names what is ours in the kernel (default: fairlead)"},
    {.name = "kube-proxy", .value = "", .help = "With cleanup: remove what a kube-proxy left, too"},
    {.name = "log-format", .value = "FORMAT", .help = "text or json (default: text)"},
    {.name = "log-level", .value = "LEVEL", .help = "debug, info, warn or error (default: info)"},
    {.name = "manifests",
     .value = "DIR",
     .help = "Directory of YAML or JSON manifests to serve, without an API server"},
    {.name = "node-name", .value = "NAME", .help = "As --hostname-override"},
    {.name = "resync-period",
     .value = "DURATION",
     .help = "How often the kernel is compared with everything and repaired (default: 15m)"},
    {.name = "state-dir", .value = "DIR", .help = "Lock and status socket (default: /run/fairlead)"},
    {.name = "status-socket", .value = "PATH", .help = "Where fairleadctl asks (default: STATE-DIR/agent.sock)"},
};

// kube-proxy's that count with --config too; beside those of logging and --hostname-override.
constexpr Flag kGeneralFlags[] = {
    {.name = "boot-id-file", .value = "FILE", .help = "Accepted; not used"},
    {.name = "cleanup", .value = "", .help = "As the command cleanup, and remove what kube-proxy left"},
    {.name = "config", .value = "FILE", .help = "A KubeProxyConfiguration; all other flags of kube-proxy are ignored"},
    {.name = "help", .value = "", .help = "This", .letter = 'h'},
    {.name = "init-only", .value = "", .help = "Set what needs privileges (conntrack), and end"},
    {.name = "machine-id-file", .value = "FILE", .help = "Accepted; not used"},
    {.name = "master", .value = "URL", .help = "URL of the API server, instead of the kubeconfig's"},
    {.name = "version", .value = "", .help = "Print the version"},
    {.name = "write-config-to", .value = "FILE", .help = "Write the configuration in force as v1alpha1, and end"},
};

// kube-proxy's without a field, which count without --config alone.
constexpr Flag kPortFlags[] = {
    {.name = "healthz-port", .value = "PORT", .help = "Port of --healthz-bind-address when it names none; 0 for off"},
    {.name = "metrics-port", .value = "PORT", .help = "Port of --metrics-bind-address when it names none; 0 for off"},
};

constexpr std::array<std::string_view, 4> kDataplanes = {"auto", "ebpf", "nftables", "iptables"};
constexpr int kDebugVerbosity = 4;  // klog's level for debugging

std::string_view value_name(const Setting& setting) {
  constexpr std::array<std::string_view, 8> kNames = {"VALUE", "VALUE", "", "N", "N", "DURATION", "LIST", "LIST"};
  return kNames[setting.slot.index()];
}

enum class Matters : std::uint8_t { Yes, No };
// One per flag, though several settings may share it. The help of those that do not matter says why.
std::vector<Flag> setting_flags(Matters matters) {
  std::vector<Flag> out;
  for (const Setting& setting : kube_proxy_settings()) {
    if (setting.flag.empty() || setting.void_because.empty() != (matters == Matters::Yes)) continue;
    const char letter = setting.flag == "v" ? 'v' : '\0';
    const std::string_view help = matters == Matters::Yes ? setting.help : setting.void_because;
    const bool known = std::any_of(out.begin(), out.end(), [&](const Flag& one) { return one.name == setting.flag; });
    if (!known) out.push_back({setting.flag, value_name(setting), help, letter});
  }
  if (matters == Matters::Yes) out.insert(out.end(), std::begin(kPortFlags), std::end(kPortFlags));
  std::sort(out.begin(), out.end(), [](const Flag& a, const Flag& b) { return a.name < b.name; });
  return out;
}

std::vector<Flag> all_flags() {
  std::vector<Flag> out = setting_flags(Matters::Yes);
  const std::vector<Flag> others = setting_flags(Matters::No);
  out.insert(out.end(), others.begin(), others.end());
  out.insert(out.end(), std::begin(kOwnFlags), std::end(kOwnFlags));
  out.insert(out.end(), std::begin(kGeneralFlags), std::end(kGeneralFlags));
  return out;
}

std::string help_text() {
  return cat(
      "The Fairlead agent: Kubernetes Services into eBPF, nftables or iptables, on this node.\n"
      "\nusage: fairlead-agent [flags]            run\n"
      "       fairlead-agent cleanup [flags]    remove everything this instance left in the kernel\n"
      "       fairlead-agent probe [flags]      say which dataplanes work here, and why not\n"
      "       fairlead-agent version            print the version\n"
      "\nFairlead's own flags:\n",
      describe({std::begin(kOwnFlags), std::end(kOwnFlags)}), "\nFlags of kube-proxy:\n",
      describe({std::begin(kGeneralFlags), std::end(kGeneralFlags)}),
      "\nFlags of kube-proxy that are ignored with --config, but for those of logging and --hostname-override:\n",
      describe(setting_flags(Matters::Yes)), "\nFlags of kube-proxy that are accepted without effect, and why:\n",
      describe(setting_flags(Matters::No)));
}

// The flags that were given, sorted by what they are for.
struct Flags {
  std::map<std::string_view, std::string> own;  // the last value of each
  std::vector<std::pair<std::string_view, std::string>> settings;
  const std::string* find(std::string_view name) const {
    const auto it = own.find(name);
    return it == own.end() ? nullptr : &it->second;
  }
  std::string get(std::string_view name, std::string_view fallback = {}) const {
    const std::string* value = find(name);
    return value == nullptr ? std::string(fallback) : *value;
  }
};

bool is_setting(std::string_view flag) {
  const auto settings = kube_proxy_settings();
  return std::any_of(settings.begin(), settings.end(), [&](const Setting& one) { return one.flag == flag; });
}

bool counts_with_config(std::string_view flag) {
  const auto settings = kube_proxy_settings();
  return flag == "hostname-override" || std::any_of(settings.begin(), settings.end(), [&](const Setting& one) {
           return one.flag == flag && one.path.starts_with("logging.");
         });
}

Flags sorted(const CommandLine& line) {
  Flags out;
  for (const Given& given : line.flags) {
    const std::string_view name = given.name == "node-name" ? "hostname-override" : given.name;
    if (is_setting(name)) {
      out.settings.emplace_back(name, given.value);
    } else {
      out.own[name] = given.value;
    }
  }
  return out;
}

Error bad_value(std::string_view flag, std::string_view value, std::string_view allowed) {
  return Error(cat(flag, ": \"", value, "\" is not allowed: ", allowed));
}

Result<bool> switch_of(const Flags& flags, std::string_view name) {
  const std::string text = flags.get(name, "false");
  const auto on = parse_bool(text);
  if (!on) return bad_value(cat("--", name), text, "use true or false");
  return *on;
}

Result<base::Duration> period_of(std::string_view flag, const std::string& text) {
  const auto period = parse_duration(text);
  if (!period || *period < std::chrono::seconds(1)) {
    return bad_value(flag, text, "use a duration of at least 1s, such as 30s, 15m or 1h30m");
  }
  return *period;
}

// A file name in bpffs and an nft table name.
Result<std::string> instance_of(const std::string& text) {
  const bool good = !text.empty() && text.size() <= 32 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
  if (!good) return bad_value("--instance", text, "use 1 to 32 of a-z, 0-9, - and _");
  return text;
}

// The pod network, which is ours only when --cni-conf-dir says where the runtime looks.
Result<PodNetworkOptions> pod_network_of(const Flags& flags, const Surroundings& surroundings) {
  constexpr std::uint32_t kLeastMtu = 1280;  // RFC 8200 s5: the least that IPv6 works with
  PodNetworkOptions out;
  out.conf_dir = flags.get("cni-conf-dir");
  out.bin_dir = flags.get("cni-bin-dir");
  out.binary = flags.get("cni-binary", surroundings.cni_binary);
  out.bridge = flags.get("cni-bridge", out.bridge);
  out.network = flags.get("cni-network", out.network);
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '-';
  };
  if (out.network.empty() || std::isalnum(static_cast<unsigned char>(out.network[0])) == 0 ||
      !std::all_of(out.network.begin(), out.network.end(), plain)) {
    return bad_value("--cni-network", out.network, "use letters and digits, then also _ . -");
  }
  const std::string link = flags.get("cni-link", "bridge");
  if (link != "bridge" && link != "routed") return bad_value("--cni-link", link, "use bridge or routed");
  out.link = link == "bridge" ? PodLink::Bridge : PodLink::Routed;
  const std::string on_exit = flags.get("cni-conf-on-exit", "leave");
  if (on_exit != "leave" && on_exit != "remove") return bad_value("--cni-conf-on-exit", on_exit, "use leave or remove");
  out.on_exit = on_exit == "leave" ? OnExit::Leave : OnExit::Remove;
  const std::string mtu = flags.get("cni-mtu", "0");
  const auto bytes = base::parse_number<std::uint32_t>(mtu);
  if (!bytes || (*bytes != 0 && (*bytes < kLeastMtu || *bytes > 65535))) {
    return bad_value("--cni-mtu", mtu, "use 1280 to 65535, or 0 for that of the way to the other nodes");
  }
  out.mtu = *bytes;
  out.namespaces_of = flags.get("cni-namespaces-of");
  if (!out.namespaces_of.empty() && base::parse_number<pid_t>(out.namespaces_of).value_or(0) <= 0) {
    return bad_value("--cni-namespaces-of", out.namespaces_of, "use the number of a process, such as 1");
  }
  out.gc_period = TRY(period_of("--cni-gc-period", flags.get("cni-gc-period", "1m")));
  if (out.conf_dir.empty() && !out.bin_dir.empty()) {
    return bad_value("--cni-bin-dir", out.bin_dir, "use it with --cni-conf-dir");
  }
  return out;
}

Result<Level> level_of(const Flags& flags, int verbosity) {
  const std::string text = flags.get("log-level", verbosity >= kDebugVerbosity ? "debug" : "info");
  if (text == "debug") return Level::Debug;
  if (text == "info") return Level::Info;
  if (text == "warn") return Level::Warn;
  if (text == "error") return Level::Error;
  return bad_value("--log-level", text, "use debug, info, warn or error");
}

Result<Format> format_of(const std::string& text) {
  if (text == "text") return Format::Text;
  if (text == "json") return Format::Json;
  return bad_value("--log-format", text, "use text or json");
}

Result<std::string> node_name_of(const std::string& given, const Surroundings& surroundings) {
  for (const std::string& candidate : {given, surroundings.node_name_variable, surroundings.hostname}) {
    std::string name(base::trim(candidate));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    if (!name.empty()) return name;
  }
  return bad_value("--node-name", given, "name this node: there is no $NODE_NAME and no hostname");
}

std::optional<Listen> listener_of(const std::string& text) {
  return text == "off" ? std::nullopt : parse_listen(text, 0);  // complete() has given it a port
}

// --healthz-port and --metrics-port.
Status apply_port(const Flags& flags, std::string_view name, std::string_view address_alone, std::string& address) {
  const std::string* text = flags.find(name);
  if (text == nullptr) return {};
  const auto port = base::parse_number<std::uint16_t>(*text);
  if (!port) return bad_value(cat("--", name), *text, "use a port, or 0 for off");
  if (address.empty()) address = address_alone;
  const auto listen = parse_listen(address, *port);
  if (*port == 0) {
    address = "off";
  } else if (listen) {
    address = net::host_port(listen->address, listen->port);
  }
  return {};
}

enum class Which : std::uint8_t { All, CountWithConfig };
Status apply_setting_flags(const Flags& flags, KubeProxyConfiguration& configuration, Which which) {
  std::set<std::string_view> seen;
  for (const auto& [flag, text] : flags.settings) {
    if (which == Which::CountWithConfig && !counts_with_config(flag)) continue;
    const bool again = !seen.insert(flag).second;
    TRY(set_flag(configuration, flag, text, again ? Occurrence::Again : Occurrence::First));
  }
  return {};
}

// An empty address turns its listener off on the command line; in a file it stands for the default.
void empty_addresses_are_off(const Flags& flags, KubeProxyConfiguration& configuration) {
  for (const auto& [flag, text] : flags.settings) {
    if (flag == "healthz-bind-address") configuration.healthz_bind_address = text.empty() ? "off" : text;
    if (flag == "metrics-bind-address") configuration.metrics_bind_address = text.empty() ? "off" : text;
  }
}

std::string flag_of(std::string_view path) {
  for (const Setting& setting : kube_proxy_settings()) {
    if (setting.path == path && !setting.flag.empty()) return cat("--", setting.flag);
  }
  return std::string(path);
}

// The same complaint where the value came from a flag: "clusterCIDR: ..." becomes "--cluster-cidr: ...".
Error in_words_of_flags(const Error& error) {
  const std::string& text = error.message();
  const std::size_t colon = text.find(':');
  return Error(flag_of(text.substr(0, colon)) + text.substr(colon));
}

Result<KubeProxyConfiguration> from_flags(const Flags& flags) {
  KubeProxyConfiguration out;
  TRY(apply_setting_flags(flags, out, Which::All));
  empty_addresses_are_off(flags, out);
  const bool v6 = net::Ip::parse_sloppy(out.bind_address) && out.bind_address.find(':') != std::string::npos;
  TRY(apply_port(flags, "healthz-port", v6 ? "::" : "0.0.0.0", out.healthz_bind_address));
  TRY(apply_port(flags, "metrics-port", v6 ? "::1" : "127.0.0.1", out.metrics_bind_address));
  complete(out);
  const auto complaints = check(out);
  if (!complaints.empty()) return Error(cat(flag_of(complaints.front().path), ": ", complaints.front().what));
  return out;
}

void note_ignored(const Flags& flags, std::vector<Note>& notes) {
  std::vector<std::string> ignored;
  const auto add = [&](std::string_view flag) {
    std::string name = cat("--", flag);
    if (std::find(ignored.begin(), ignored.end(), name) == ignored.end()) ignored.push_back(std::move(name));
  };
  for (const auto& [flag, text] : flags.settings) {
    if (!counts_with_config(flag)) add(flag);
  }
  for (const Flag& port : kPortFlags) {
    if (flags.find(port.name) != nullptr) add(port.name);
  }
  if (ignored.empty()) return;
  notes.push_back({Level::Warn, cat("ignored, since --config says all of that: ", base::join(ignored, ", "))});
}

Options with_effect(Options options, Effect effect) {
  options.dataplane = std::move(effect.dataplane);
  options.model = std::move(effect.model);
  options.dataplane_options.masquerade_mark = effect.masquerade_mark;
  options.health_timeout = effect.health_timeout;
  std::move(effect.notes.begin(), effect.notes.end(), std::back_inserter(options.notes));
  return options;
}

Result<Options> configured_by_file(Options options, const Flags& flags, const Surroundings& surroundings) {
  const std::string& path = options.config_file;
  const std::string text = TRY(surroundings.read_file(path));
  DecodedConfiguration decoded = TRY_CONTEXT(decode_kube_proxy_configuration(text), path);
  for (const std::string& warning : decoded.warnings) options.notes.push_back({Level::Warn, cat(path, ": ", warning)});
  options.kube_proxy = std::move(decoded.configuration);
  TRY(apply_setting_flags(flags, options.kube_proxy, Which::CountWithConfig));
  note_ignored(flags, options.notes);
  Effect effect = TRY_CONTEXT(effect_of(options.kube_proxy, surroundings.families), path);
  return with_effect(std::move(options), std::move(effect));
}

Result<Options> configured_by_flags(Options options, const Flags& flags, const Surroundings& surroundings) {
  options.kube_proxy = TRY(from_flags(flags));
  auto effect = effect_of(options.kube_proxy, surroundings.families);
  if (!effect) return in_words_of_flags(effect.error());
  return with_effect(std::move(options), std::move(*effect));
}

// What --config or a flag asks for; by default a node's settings are nobody's but the operator's.
void choose_node_settings(const Flags& flags, Options& options) {
  const auto given = [&](std::string_view beginning) {
    return std::any_of(flags.settings.begin(), flags.settings.end(),
                       [&](const auto& one) { return one.first.starts_with(beginning); });
  };
  const bool file = !options.config_file.empty();
  options.tune_conntrack = file || given("conntrack-") || options.command == Command::InitOnly;
  if (file || given("oom-score-adj")) options.oom_score_adj = options.kube_proxy.oom_score_adj;
}

Status choose_dataplane(const Flags& flags, Options& options) {
  const std::string by_mode = std::exchange(options.dataplane, flags.get("dataplane", options.dataplane));
  if (std::find(kDataplanes.begin(), kDataplanes.end(), options.dataplane) == kDataplanes.end()) {
    return bad_value("--dataplane", options.dataplane, "use auto, ebpf, nftables or iptables");
  }
  const std::string& mode = options.kube_proxy.mode;
  if (flags.find("dataplane") == nullptr || mode.empty() || options.dataplane == by_mode) return {};
  options.notes.push_back({Level::Info, cat("--dataplane ", options.dataplane, " counts, not mode ", mode)});
  return {};
}

// Everything but the configuration itself.
Result<Options> with_own_flags(Options options, const Flags& flags, const Surroundings& surroundings) {
  choose_node_settings(flags, options);
  for (const char* name : {"clean-kube-proxy", "kube-proxy"}) {
    if (TRY(switch_of(flags, name))) options.clean_kube_proxy = true;
  }
  TRY(choose_dataplane(flags, options));
  options.manifests = flags.get("manifests");
  options.master = flags.get("master");
  options.kubeconfig = options.kube_proxy.client_connection_kubeconfig;
  const bool server = !options.master.empty() || (options.config_file.empty() && !options.kubeconfig.empty());
  if (!options.manifests.empty() && server) {
    return bad_value("--manifests", options.manifests, "use either a directory of manifests or an API server");
  }
  if (!options.master.empty() && !options.master.starts_with("https://") && !options.master.starts_with("http://")) {
    return bad_value("--master", options.master, "use a URL that starts with https:// or http://");
  }
  options.node_name = TRY(node_name_of(options.kube_proxy.hostname_override, surroundings));
  options.dataplane_options.instance = TRY(instance_of(flags.get("instance", "fairlead")));
  options.dataplane_options.bpf_root = flags.get("bpf-root", kDefaultBpfRoot);
  const std::string cgroup = flags.get("cgroup");
  options.dataplane_options.cgroup = cgroup.empty() ? surroundings.default_cgroup() : cgroup;
  options.metrics = listener_of(options.kube_proxy.metrics_bind_address);
  options.healthz = listener_of(options.kube_proxy.healthz_bind_address);
  options.conntrack_clean_half_open = TRY(switch_of(flags, "conntrack-clean-half-open"));
  options.resync_period = TRY(period_of("--resync-period", flags.get("resync-period", "15m")));
  options.log_level = TRY(level_of(flags, options.kube_proxy.logging_verbosity));
  options.log_format = TRY(format_of(flags.get("log-format", options.kube_proxy.logging_format)));
  options.state_dir = flags.get("state-dir", options.state_dir);
  options.status_socket = flags.get("status-socket", options.state_dir + "/agent.sock");
  options.pod_network = TRY(pod_network_of(flags, surroundings));
  options.pod_network.status_socket = options.status_socket;
  options.pod_network.cluster_cidrs = options.model.cluster_cidrs;
  return options;
}

Result<Command> command_of(const std::vector<std::string>& words, const Flags& flags) {
  constexpr std::pair<std::string_view, Command> kCommands[] = {
      {"cleanup", Command::Cleanup}, {"probe", Command::Probe}, {"version", Command::Version}};
  if (words.size() > 1) return Error(cat(words[1], ": no such flag or command"));
  if (!words.empty()) {
    for (const auto& [word, command] : kCommands) {
      if (words[0] == word) return command;
    }
    return Error(cat(words[0], ": no such flag or command"));
  }
  if (flags.get("version", "false") != "false") return Command::Version;  // also --version=raw
  if (!flags.get("write-config-to").empty()) return Command::WriteConfig;
  if (TRY(switch_of(flags, "cleanup"))) return Command::Cleanup;
  if (TRY(switch_of(flags, "init-only"))) return Command::InitOnly;
  return Command::Run;
}

Stop usage_error(const Error& error) {
  return {.exit_code = 2, .text = cat("error: ", error.message(), "\nhint: fairlead-agent --help lists every flag\n")};
}

// An Options that says Version and nothing else needs no configuration.
Options version_only() {
  Options out;
  out.command = Command::Version;
  return out;
}

}  // namespace

std::variant<Options, Stop> parse_options(const std::vector<std::string>& arguments, const Surroundings& surroundings) {
  const auto line = read_command_line(arguments, all_flags());
  if (!line) return usage_error(line.error());
  const Flags flags = sorted(*line);
  if (flags.find("help") != nullptr) return Stop{.exit_code = 0, .text = help_text()};
  const auto command = command_of(line->words, flags);
  if (!command) return usage_error(command.error());
  if (*command == Command::Version) return version_only();

  Options options;
  options.command = *command;
  options.clean_kube_proxy = *command == Command::Cleanup && line->words.empty();
  options.write_config_to = flags.get("write-config-to");
  options.config_file = flags.get("config");
  const bool file = !options.config_file.empty();
  auto configured = file ? configured_by_file(std::move(options), flags, surroundings)
                         : configured_by_flags(std::move(options), flags, surroundings);
  if (!configured && file) return Stop{.exit_code = 1, .text = cat("error: ", configured.error().message(), "\n")};
  if (!configured) return usage_error(configured.error());
  auto result = with_own_flags(std::move(*configured), flags, surroundings);
  if (!result) return usage_error(result.error());
  return std::move(*result);
}

std::string configz_json(const Options& options) {
  base::Value out{base::Value::Object()};
  out.set("kubeproxy.config.k8s.io", to_value(options.kube_proxy));
  return base::to_json(out);
}

}  // namespace fairlead::agent
