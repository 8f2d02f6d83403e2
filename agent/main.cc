// fairlead-agent: a source feeds the store, the store feeds the dataplane, and the outcome comes back.
//
//   loop thread                                              worker thread
//   Source --objects--> Controller(Store, resolve) --Work--> Worker(Applier, Dataplane) --> kernel
//                           ^   |                                    |
//                 status <--+   +--> Metrics, Health                 |
//                           ^------------------Outcome---------------+
//   Servers (/metrics, /healthz, /v1/status) and ServiceHealth (healthCheckNodePort) read the Controller on the loop
//   thread; Events tell the API server what they could not do.
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>

#include "agent/cni_sweeper.h"
#include "agent/conntrack_cleaner.h"
#include "agent/controller.h"
#include "agent/events.h"
#include "agent/file_watch.h"
#include "agent/health.h"
#include "agent/leftovers.h"
#include "agent/lock.h"
#include "agent/metrics.h"
#include "agent/mounts.h"
#include "agent/node_setup.h"
#include "agent/options.h"
#include "agent/pod_network.h"
#include "agent/servers.h"
#include "agent/service_health.h"
#include "agent/sources.h"
#include "agent/status.h"
#include "agent/surroundings.h"
#include "agent/worker.h"
#include "base/file.h"
#include "base/log.h"
#include "base/strings.h"
#include "net/conntrack/netlink.h"
#include "net/links.h"
#include "proxy/dataplane/select.h"

namespace fairlead::agent {
namespace {

namespace dataplane = proxy::dataplane;
namespace log = base::log;

constexpr std::chrono::milliseconds kLockPatience{1000};

void prepare_bpf_root(const Options& options) {
  if (options.dataplane != "auto" && options.dataplane != "ebpf") return;
  const auto root = ensure_bpf_root(options.dataplane_options.bpf_root, MountFor::Everybody);
  if (!root) {
    log::warn("no bpffs", {{"err", root.error().message()}});
  } else if (*root == BpfRoot::Mounted) {
    log::info("mounted a bpffs", {{"path", options.dataplane_options.bpf_root}});
  }
}

// For a connection that the old dataplane began, just before the new one took over, to be established and served.
constexpr std::chrono::milliseconds kHandshake{20};

// On the worker's thread, once everything is in the new dataplane: connections that the old one still carries have had
// their best chance.
void remove_other_dataplanes(const std::string& chosen, const Options& options) {
  for (const dataplane::Module& module : dataplane::modules()) {
    if (module.name == chosen || !module.has_traces(options.dataplane_options)) continue;
    std::this_thread::sleep_for(kHandshake);
    const auto removed = dataplane::remove_traces(module, options.dataplane_options);
    if (!removed) {
      log::warn("cannot remove what another dataplane left",
                {{"dataplane", module.name}, {"err", removed.error().message()}});
    } else if (*removed == dataplane::Found::Removed) {
      log::info("removed what another dataplane left", {{"dataplane", module.name}});
    }
  }
}

Spared spared(const std::string& chosen, const Options& options) {
  return {.iptables_chains = chosen == "iptables", .nft_table = options.dataplane_options.instance == "kube-proxy"};
}

// On the worker's thread, once everything is in our dataplane. A kube-proxy that still runs would only write its rules
// again, so without being told to we say what is there and leave it.
void handle_kube_proxy_leftovers(const std::string& chosen, const Options& options) {
  const auto found = find_kube_proxy(spared(chosen, options));
  if (!found) log::warn("cannot look for kube-proxy's rules", {{"err", found.error().message()}});
  if (!found || found->empty()) return;
  const std::string modes = base::join(*found, ", ");
  if (!options.clean_kube_proxy) {
    log::warn("kube-proxy's rules are still in place",
              {{"modes", modes}, {"hint", "stop kube-proxy, then start with --clean-kube-proxy"}});
    return;
  }
  const auto removed = remove_kube_proxy(spared(chosen, options));
  if (!removed) log::warn("cannot remove what kube-proxy left", {{"err", removed.error().message()}});
  if (removed) log::info("removed what kube-proxy left", {{"what", base::join(*removed, ", ")}});
}

// Each Service with a healthCheckNodePort costs a descriptor, and the soft limit is often 1024. As Go's runtime does.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

// Gates of Kubernetes 1.36 that are locked on there and that this implements.
void set_features(Metrics& metrics) {
  for (const char* name : {"MultiCIDRServiceAllocator", "PreferSameTrafficDistribution"}) {
    metrics.set_feature(name, true);
  }
}

void log_selection(const dataplane::Selection& selection) {
  for (const dataplane::NamedProbe& each : selection.probes) {
    log::info(each.probe.usable ? "dataplane chosen" : "dataplane unusable",
              {{"dataplane", each.dataplane}, {"reason", each.probe.reason}});
  }
}

void tell_closed_port(const Controller& controller, Events& events, const Key& service, std::uint16_t port,
                      const Error& error) {
  log::warn("cannot open a health check port, trying again",
            {{"service", service.to_string()}, {"err", error.message()}});
  const kube::Service* object = controller.store().service(service);
  events.emit(service_health_failed(controller.node_view().name, service, object == nullptr ? "" : object->meta.uid,
                                    port, error.message()));
}

// kube-proxy's bindAddressHardFail; without it every address is tried again.
Status all_listening(const Options& options, const Identity& identity) {
  const auto failed = [](std::string_view field, const std::optional<Listen>& at, const std::string& address) {
    return at && address.empty() ? Error(base::cat(field, ": cannot listen on ", net::host_port(at->address, at->port)))
                                 : Status();
  };
  TRY(failed("healthzBindAddress", options.healthz, identity.healthz_address));
  return failed("metricsBindAddress", options.metrics, identity.metrics_address);
}

// On the worker's thread: the dataplane has had the kernel load it, or does without.
void tune_conntrack_again(const Options& options) {
  const auto done = tune_conntrack(options);
  if (!done) log::warn("cannot tune", {{"err", done.error().message()}});
}

// What only a privileged process can do; the rest of the agent needs CAP_NET_ADMIN and what its dataplane asks for.
Status init_only(const Options& options) {
  if (TRY(tune_conntrack(options)) == Conntrack::NotLoaded) {
    log::warn("conntrack is not loaded: its settings wait for the agent itself");
  }
  return {};
}

Status write_config(const Options& options) {
  return base::write_file_atomically(options.write_config_to, to_yaml(options.kube_proxy));
}

// The agent ends to be started again when its configuration says something else; not for a comment, and not for
// something that it could not be started with.
std::optional<Error> changed_configuration(const Options& running, const std::vector<std::string>& arguments) {
  const auto now = parse_options(arguments, surroundings());
  if (const auto* stop = std::get_if<Stop>(&now)) {
    const std::string_view text = base::trim(stop->text);
    log::error("the configuration file has changed and cannot be used: the one in force stays", {{"err", text}});
    return std::nullopt;
  }
  if (std::get<Options>(now).kube_proxy == running.kube_proxy) {
    log::info("the configuration file was written and says what it said");
    return std::nullopt;
  }
  return Error(running.config_file + ": has changed; ending, to be started again with it");
}

constexpr std::chrono::seconds kPodNetworkPeriod{5};

// What the pod network depends on may have changed.
void refresh_pod_network(PodNetwork& network, const Controller& controller) {
  const auto links = net::list_links();
  if (!links) log::warn("cannot list the links", {{"err", links.error().message()}});
  const proxy::model::NodeView& node = controller.node_view();
  const std::optional<std::string> before = network.refusal();
  const auto written = network.update({.services_in_kernel = controller.ledger().synced(),
                                       .node = node.name,
                                       .pod_cidrs = node.pod_cidrs,
                                       .mtu = links ? path_mtu(*links, node.addresses, node.pod_cidrs) : 0});
  if (written && *written) log::info("pods can be wired", {{"conflist", network.conf_path()}});
  if (network.refusal() && network.refusal() != before && (!written || controller.ledger().synced())) {
    log::warn("no pod can be wired", {{"err", *network.refusal()}});
  }
}

void log_released(const Released& released) {
  if (!released.records.empty()) {
    log::info("released what pods without a sandbox left", {{"records", base::join(released.records, ",")}});
  }
  for (const std::string& error : released.errors) log::warn("cannot release what a pod left", {{"err", error}});
}

Result<std::unique_ptr<CniSweeper>> start_sweeper(const PodNetworkOptions& options) {
  const auto failed = [](const Error& error) {
    log::warn("cannot look for what pods left", {{"err", error.message()}});
  };
  std::vector<std::string> command{options.binary};
  if (!options.namespaces_of.empty()) command.push_back("--namespaces-of=" + options.namespaces_of);
  return CniSweeper::start(
      {.command = std::move(command), .period = options.gc_period, .released = log_released, .failed = failed});
}

// Runs until a signal, until the dataplane cannot be opened, or until the configuration file says something else.
Status run(const Options& options, const std::vector<std::string>& arguments) {
  const InstanceLock lock = TRY(InstanceLock::acquire(options.state_dir, kLockPatience));
  const InstanceClaim claim = TRY(InstanceClaim::acquire(options.dataplane_options.instance, kLockPatience));
  const base::SystemClock clock;
  const auto loop = TRY(base::Loop::create());
  set_oom_score(options);
  const Conntrack conntrack = TRY(tune_conntrack(options));
  prepare_bpf_root(options);

  Identity identity{.version = FAIRLEAD_VERSION,
                    .instance = options.dataplane_options.instance,
                    .node = options.node_name,
                    .dataplane = {},
                    .probes = {},
                    .metrics_address = {},
                    .healthz_address = {}};
  raise_descriptor_limit();
  Metrics metrics(identity.version);
  set_features(metrics);
  Health health(clock, options.health_timeout);
  std::optional<Error> fatal;

  // The worker's thread chooses and opens the dataplane while this one reads the source.
  std::string chosen;  // the worker's
  const auto open = [&]() -> Result<std::unique_ptr<dataplane::Dataplane>> {
    dataplane::Selection selection =
        TRY(dataplane::select(options.dataplane, dataplane::modules(), options.dataplane_options));
    log_selection(selection);
    chosen = selection.module.name;
    loop->post([&identity, &metrics, selection] {
      metrics.set_dataplane(selection.module.name);
      identity.dataplane = selection.module.name;
      identity.probes = selection.probes;
    });
    return TRY_CONTEXT(selection.module.open(options.dataplane_options),
                       base::cat("cannot use dataplane \"", chosen, "\""));
  };
  const auto after_first_replace = [&] {
    remove_other_dataplanes(chosen, options);
    handle_kube_proxy_leftovers(chosen, options);
    if (conntrack == Conntrack::NotLoaded) tune_conntrack_again(options);
    ::malloc_trim(0);  // what the first sync needed and nothing will need again
  };

  const auto clean_conntrack = [&]() -> std::unique_ptr<Applier::Listener> {
    auto cleaner = ConntrackCleaner::start(
        {.clock = clock,
         .half_open = options.conntrack_clean_half_open,
         .open = net::conntrack::open_netlink,
         .local_addresses = net::local_addresses,
         .done = [&](const proxy::conntrack::Pass& pass) {
           loop->post([&metrics, pass] { metrics.conntrack_reconciled(pass.family, pass.took, pass.deleted); });
         }});
    if (cleaner) return std::move(*cleaner);
    log::warn("conntrack will not be cleaned", {{"err", cleaner.error().message()}});
    return nullptr;
  };

  const bool is_pod_network = !options.pod_network.conf_dir.empty();
  PodNetwork pod_network(options.pod_network);
  Controller* thinker = nullptr;
  ServiceHealth* health_ports = nullptr;
  const auto worker = TRY(Worker::create(
      *loop, clock, Backoff{}, {.open = open, .after_first_replace = after_first_replace, .listener = clean_conntrack},
      {.outcome =
           [&](const Outcome& outcome) {
             thinker->done(outcome);
             if (is_pod_network && pod_network.refusal()) refresh_pod_network(pod_network, *thinker);
           },
       .open_failed =
           [&](const Error& error) {
             fatal = error;
             loop->stop();
           },
       .wants_all = [&] { thinker->send_all(); }}));
  Controller controller({.loop = *loop,
                         .clock = clock,
                         .metrics = metrics,
                         .health = health,
                         .hand_over = [&](Work work) { worker->inbox().put(std::move(work)); },
                         .facts_applied = [&](const FactBook::Applied& change) { health_ports->update(change); }},
                        options.node_name, options.model);
  thinker = &controller;
  worker->start();

  const auto source = TRY(Source::open(*loop, clock, controller, options));
  Events events(*loop, clock, source->http(), options.node_name, Events::Pace());
  events.emit(starting(options.node_name));
  ServiceHealth service_health({.loop = *loop,
                                .health = health,
                                .book = controller.facts(),
                                .failed = [&](const Key& service, std::uint16_t port, const Error& error) {
                                  tell_closed_port(controller, events, service, port, error);
                                }});
  health_ports = &service_health;
  std::function<std::string()> pod_network_refusal;
  if (is_pod_network) pod_network_refusal = [&] { return pod_network.refusal().value_or(""); };
  const auto servers = TRY(Servers::start({.loop = *loop,
                                           .clock = clock,
                                           .identity = identity,
                                           .controller = controller,
                                           .metrics = metrics,
                                           .health = health,
                                           .events = events,
                                           .service_health = service_health,
                                           .api = source->http(),
                                           .source_status = [&] { return source->status(); },
                                           .configz = [&] { return configz_json(options); },
                                           .pod_network_refusal = pod_network_refusal,
                                           .arguments = arguments},
                                          options));
  if (options.kube_proxy.bind_address_hard_fail) TRY(all_listening(options, identity));
  const auto reread = [&] {
    const auto changed = changed_configuration(options, arguments);
    if (!changed) return;
    fatal = *changed;
    loop->stop();
  };
  std::unique_ptr<CniSweeper> sweeper;
  base::Loop::Handle pod_network_timer = base::Loop::none();
  if (is_pod_network) {
    sweeper = TRY(start_sweeper(options.pod_network));
    pod_network_timer = loop->every(kPodNetworkPeriod, [&] { refresh_pod_network(pod_network, controller); });
  }
  std::unique_ptr<FileWatch> watch;
  if (!options.config_file.empty()) watch = TRY(FileWatch::open(*loop, options.config_file, reread));
  const auto drift = loop->every(options.resync_period, [&] { controller.send_all(); });
  const auto on_term = loop->on_signal(SIGTERM, [&] { loop->stop(); });
  const auto on_int = loop->on_signal(SIGINT, [&] { loop->stop(); });

  const SourceStatus from = source->status();
  log::info("fairlead-agent started", {{"version", identity.version},
                                       {"node", identity.node},
                                       {"instance", identity.instance},
                                       {"source", base::cat(from.kind, " ", from.where)},
                                       {"dataplane", options.dataplane},
                                       {"status_socket", options.status_socket},
                                       {"metrics", identity.metrics_address},
                                       {"healthz", identity.healthz_address}});
  loop->run();
  worker->stop();
  if (is_pod_network) {
    if (const Status left = pod_network.leave(); !left) {
      log::warn("cannot remove the conflist", {{"err", left.error().message()}});
    }
  }
  if (fatal) return *fatal;
  log::info("stopped, the dataplane stays in place", {{"services", base::cat(controller.store().services().size())}});
  return {};
}

// Files of the state directory, and the directory when nothing else is in it.
bool remove_state(const Options& options) {
  bool found = false;
  std::error_code ignored;
  if (std::filesystem::is_socket(options.status_socket, ignored)) {  // a wrong --status-socket may name anything
    found = std::filesystem::remove(options.status_socket, ignored);
  }
  found = std::filesystem::remove(lock_path(options.state_dir), ignored) || found;
  std::filesystem::remove_all(last_good_root(options.state_dir), ignored);
  std::filesystem::remove(options.state_dir, ignored);  // fails when there is more in it
  return found;
}

Status cleanup(const Options& options) {
  std::optional<InstanceLock> lock;
  if (std::filesystem::exists(options.state_dir)) {
    lock = TRY_CONTEXT(InstanceLock::acquire(options.state_dir, kLockPatience), "stop the agent first");
  }
  const InstanceClaim claim =
      TRY_CONTEXT(InstanceClaim::acquire(options.dataplane_options.instance, kLockPatience), "stop the agent first");
  std::string failed;
  for (const dataplane::Module& module : dataplane::modules()) {
    const auto removed = dataplane::remove_traces(module, options.dataplane_options);
    if (!removed) {
      std::fprintf(stderr, "error: %s: %s\n", module.name.c_str(), removed.error().message().c_str());
      failed += (failed.empty() ? "" : ", ") + module.name;
      continue;
    }
    std::printf("%s: %s\n", module.name.c_str(), *removed == dataplane::Found::Removed ? "removed" : "nothing there");
  }
  if (options.clean_kube_proxy) {
    const auto removed = remove_kube_proxy();
    if (!removed) {
      std::fprintf(stderr, "error: kube-proxy: %s\n", removed.error().message().c_str());
      failed += std::string(failed.empty() ? "" : ", ") + "kube-proxy";
    } else {
      for (const std::string& line : *removed) std::printf("kube-proxy: %s\n", line.c_str());
      if (removed->empty()) std::puts("kube-proxy: nothing there");
    }
  }
  if (!options.pod_network.conf_dir.empty()) {
    const PodNetwork network(options.pod_network);
    const auto removed = network.remove_conflist();
    if (!removed) failed += std::string(failed.empty() ? "" : ", ") + removed.error().message();
    if (removed) std::printf("%s: %s\n", network.conf_path().c_str(), *removed ? "removed" : "nothing there");
  }
  if (lock) std::printf("%s: %s\n", options.state_dir.c_str(), remove_state(options) ? "removed" : "nothing there");
  if (!failed.empty()) return Error("not everything could be removed: " + failed);
  return {};
}

Status probe(const Options& options) {
  // In a mount namespace of our own, so that asking changes nothing.
  (void)ensure_bpf_root(options.dataplane_options.bpf_root, MountFor::ThisProcess).has_value();
  bool any = false;
  for (const auto& each : dataplane::probe_all(dataplane::modules(), options.dataplane_options)) {
    any = any || each.probe.usable;
    std::printf("%-9s %-9s %s\n", each.dataplane.c_str(), each.probe.usable ? "usable" : "unusable",
                each.probe.reason.c_str());
  }
  if (!any) return Error("no dataplane is usable on this node");
  return {};
}

Status dispatch(const Options& options, const std::vector<std::string>& arguments) {
  switch (options.command) {
    case Command::Run: return run(options, arguments);
    case Command::InitOnly: return init_only(options);
    case Command::WriteConfig: return write_config(options);
    case Command::Cleanup: return cleanup(options);
    case Command::Probe: return probe(options);
    case Command::Version: std::puts("fairlead-agent " FAIRLEAD_VERSION); return {};
  }
  return {};
}

int main_with(const std::vector<std::string>& arguments) {
  const auto parsed = parse_options(arguments, surroundings());
  if (const auto* stop = std::get_if<Stop>(&parsed)) {
    std::fputs(stop->text.c_str(), stop->exit_code == 0 ? stdout : stderr);
    return stop->exit_code;
  }
  const Options& options = std::get<Options>(parsed);
  log::configure(options.log_level, options.log_format);
  if (options.command == Command::Run || options.command == Command::InitOnly) {
    for (const Note& note : options.notes) log::write(note.level, note.text, {});
  }
  ::signal(SIGPIPE, SIG_IGN);  // a client that hangs up is no reason to die
  ::mallopt(M_ARENA_MAX, 1);   // two threads that hand values over free in each other's arenas
  const Status status = dispatch(options, arguments);
  if (status) return 0;
  std::fprintf(stderr, "error: %s\n", status.error().message().c_str());
  return 1;
}

}  // namespace
}  // namespace fairlead::agent

int main(int argc, char** argv) { return fairlead::agent::main_with({argv + 1, argv + argc}); }
