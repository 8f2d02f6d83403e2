#include "agent/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <utility>

#include "agent/mounts.h"
#include "agent/time_text.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

using base::log::Format;
using base::log::Level;

constexpr std::array<const char*, 3> kDataplanes = {"auto", "ebpf", "nftables"};

// As typed; checked after parsing, so that every error names flag, value and what is allowed in one form.
struct Raw {
  std::string node_name, dataplane = "auto", cgroup, instance = "fairlead";
  std::string metrics = "127.0.0.1:10249", healthz = "127.0.0.1:10256";
  std::string resync_period = "15m", log_level = "info", log_format = "text";
};

Error bad_value(std::string_view flag, std::string_view value, std::string_view allowed) {
  return Error(base::cat(flag, ": \"", value, "\" is not allowed: ", allowed));
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return lower;
}

// "127.0.0.1:80", "[::1]:80" or "off".
Result<std::optional<Listen>> listen_of(std::string_view flag, const std::string& text) {
  constexpr std::string_view kAllowed = "use IP:PORT ([IP]:PORT for IPv6, port 0 for any free one), or off";
  if (text == "off") return std::optional<Listen>();
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return bad_value(flag, text, kAllowed);
  std::string_view host = std::string_view(text).substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = net::Ip::parse(host);
  const auto port = base::parse_number<std::uint16_t>(std::string_view(text).substr(colon + 1));
  if (!address || !port || bracketed == address->is_v4()) return bad_value(flag, text, kAllowed);
  return std::optional(Listen{*address, *port});
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

Result<Level> level_of(const std::string& text) {
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

Result<std::string> node_name_of(const Raw& raw, const Surroundings& surroundings) {
  for (const std::string& candidate : {raw.node_name, surroundings.node_name_variable, surroundings.hostname}) {
    const std::string_view name = base::trim(candidate);
    if (!name.empty()) return lower_case(name);
  }
  return bad_value("--node-name", raw.node_name, "name this node: there is no $NODE_NAME and no hostname");
}

Result<Options> checked(Options options, const Raw& raw, const Surroundings& surroundings) {
  if (!options.manifests.empty() && !(options.kubeconfig.empty() && options.master.empty())) {
    return bad_value("--manifests", options.manifests, "use either a directory of manifests or an API server");
  }
  if (std::find(kDataplanes.begin(), kDataplanes.end(), raw.dataplane) == kDataplanes.end()) {
    return bad_value("--dataplane", raw.dataplane, "use auto, ebpf or nftables");
  }
  if (!options.master.empty() && !options.master.starts_with("https://") && !options.master.starts_with("http://")) {
    return bad_value("--master", options.master, "use a URL that starts with https:// or http://");
  }
  options.dataplane = raw.dataplane;
  options.node_name = TRY(node_name_of(raw, surroundings));
  options.dataplane_options.instance = TRY(instance_of(raw.instance));
  options.dataplane_options.cgroup = raw.cgroup.empty() ? surroundings.default_cgroup() : raw.cgroup;
  options.metrics = TRY(listen_of("--metrics-bind-address", raw.metrics));
  options.healthz = TRY(listen_of("--healthz-bind-address", raw.healthz));
  options.resync_period = TRY(period_of("--resync-period", raw.resync_period));
  options.log_level = TRY(level_of(raw.log_level));
  options.log_format = TRY(format_of(raw.log_format));
  if (options.status_socket.empty()) options.status_socket = options.state_dir + "/agent.sock";
  return options;
}

void add_flags(CLI::App& app, Options& options, Raw& raw) {
  app.add_option("--manifests", options.manifests,
                 "Directory of YAML or JSON manifests to serve, without an API server")
      ->type_name("DIR");
  app.add_option("--kubeconfig", options.kubeconfig, "How to reach the API server (default: in-cluster identity)")
      ->type_name("FILE");
  app.add_option("--master", options.master, "URL of the API server, instead of the kubeconfig's")->type_name("URL");
  app.add_option("--node-name", raw.node_name, "This node's name (default: $NODE_NAME, else the hostname)")
      ->type_name("NAME");
  app.add_option("--dataplane", raw.dataplane, "auto, ebpf or nftables (default: auto)")->type_name("NAME");
  app.add_option("--cgroup", raw.cgroup, "cgroup2 to attach socket load balancing to (default: the root of it)")
      ->type_name("DIR");
  app.add_option("--bpf-root", options.dataplane_options.bpf_root,
                 base::cat("bpffs to pin into (default: ", kDefaultBpfRoot, ", mounted when missing)"))
      ->type_name("DIR");
  app.add_option("--instance", raw.instance, "Names what is ours in the kernel (default: fairlead)")->type_name("NAME");
  app.add_option("--state-dir", options.state_dir, "Lock and status socket (default: /run/fairlead)")->type_name("DIR");
  app.add_option("--status-socket", options.status_socket, "Where fairleadctl asks (default: STATE-DIR/agent.sock)")
      ->type_name("PATH");
  app.add_option("--metrics-bind-address", raw.metrics, "/metrics and /proxyMode (default: 127.0.0.1:10249; or off)")
      ->type_name("IP:PORT");
  app.add_option("--healthz-bind-address", raw.healthz, "/healthz and /livez (default: 127.0.0.1:10256; or off)")
      ->type_name("IP:PORT");
  app.add_option("--resync-period", raw.resync_period,
                 "How often the kernel is compared with everything and repaired (default: 15m)")
      ->type_name("DURATION");
  app.add_flag("--clean-kube-proxy,--kube-proxy", options.clean_kube_proxy,
               "Remove what a kube-proxy of any mode left in the kernel: with cleanup, or after the first sync");
  app.add_option("--log-level", raw.log_level, "debug, info, warn or error (default: info)")->type_name("LEVEL");
  app.add_option("--log-format", raw.log_format, "text or json (default: text)")->type_name("FORMAT");
}

Stop usage_error(std::string_view message) {
  return {.exit_code = 2, .text = base::cat("error: ", message, "\nhint: fairlead-agent --help lists every flag\n")};
}

}  // namespace

std::variant<Options, Stop> parse_options(const std::vector<std::string>& arguments, const Surroundings& surroundings) {
  Options options;
  Raw raw;
  CLI::App app("The Fairlead agent: Kubernetes Services into eBPF or nftables, on this node.", "fairlead-agent");
  app.fallthrough();
  app.require_subcommand(0, 1);
  add_flags(app, options, raw);
  const CLI::App* cleanup = app.add_subcommand("cleanup", "Remove everything this instance left in the kernel");
  const CLI::App* probe = app.add_subcommand("probe", "Say which dataplanes work here, and why not");
  const CLI::App* version = app.add_subcommand("version", "Print the version");

  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 takes them last first
  } catch (const CLI::CallForHelp&) {
    return Stop{.exit_code = 0, .text = app.help()};
  } catch (const CLI::ExtrasError&) {
    const std::vector<std::string> extra = app.remaining(true);
    return usage_error((extra.empty() ? std::string() : extra.front()) + ": no such flag or command");
  } catch (const CLI::ArgumentMismatch&) {
    return usage_error(arguments.back() + ": a value is missing");
  } catch (const CLI::ParseError& error) {
    return usage_error(error.what());
  }
  if (cleanup->parsed()) options.command = Command::Cleanup;
  if (probe->parsed()) options.command = Command::Probe;
  if (version->parsed()) options.command = Command::Version;

  auto result = checked(std::move(options), raw, surroundings);
  if (!result) return usage_error(result.error().message());
  return std::move(*result);
}

}  // namespace fairlead::agent
