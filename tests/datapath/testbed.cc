#include "tests/datapath/testbed.h"

#include <linux/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <iostream>

#include "base/json.h"
#include "base/strings.h"
#include "cni-plugin/marks.h"
#include "tests/datapath/probe/sockets.h"
#include "tests/datapath/remains.h"

namespace fairlead::testbed {
namespace {

using base::cat;

constexpr int kEth0 = 2;    // index in every namespace but the underlay
constexpr int kBridge = 2;  // in the underlay
constexpr int kClientPort = 9;
constexpr int kFirstPort = 10;  // + node, in the underlay
constexpr char kPodNetwork[] = "pods";
constexpr char kPodInterface[] = "eth0";

net::Ip ip(const std::string& text) { return *net::Ip::parse(text); }  // only for literals and numbers below
net::Prefix network(const std::string& text) { return *net::Prefix::parse(text); }
net::Prefix default_route(net::Family family) { return network(family == net::Family::V4 ? "0.0.0.0/0" : "::/0"); }

Mac mac(unsigned kind, unsigned node, unsigned position) {
  return {
      0x02, 0xfa, static_cast<std::uint8_t>(kind), static_cast<std::uint8_t>(node), static_cast<std::uint8_t>(position),
      0x01};
}

net::Ip gateway4() { return ip("172.18.0.254"); }
net::Ip gateway6() { return ip("fd00:172:18::254"); }

// Addresses are usable at once (no duplicate detection, nothing learnt from routers), and asymmetric paths are let in.
Sysctls endpoint_sysctls() {
  return {{"net/ipv6/conf/all/disable_ipv6", "0"}, {"net/ipv6/conf/default/disable_ipv6", "0"},
          {"net/ipv6/conf/all/accept_dad", "0"},   {"net/ipv6/conf/default/accept_dad", "0"},
          {"net/ipv6/conf/all/accept_ra", "0"},    {"net/ipv6/conf/default/accept_ra", "0"},
          {"net/ipv4/conf/all/rp_filter", "0"},    {"net/ipv4/conf/default/rp_filter", "0"}};
}

Sysctls node_sysctls() {
  Sysctls sysctls = endpoint_sysctls();
  sysctls.insert(
      sysctls.end(),
      {{"net/ipv4/ip_forward", "1"},
       {"net/ipv6/conf/all/forwarding", "1"},
       {"net/ipv4/conf/all/send_redirects", "0"},
       {"net/ipv4/conf/default/send_redirects", "0"},
       // Every refusal is told: the kernel would send each peer about one ICMP error a second, and what limits
       // all peers together loses one when two CPUs meet at an empty budget (linux v6.18 net/ipv4/icmp.c
       // icmp_global_allow). In IPv6's mask every type that is not named goes unlimited; 0 is no message.
       {"net/ipv4/icmp_ratelimit", "0"},
       {"net/ipv4/icmp_ratemask", "0"},
       {"net/ipv6/icmp/ratelimit", "0"},
       {"net/ipv6/icmp/ratemask", "0"}});
  return sysctls;
}

// The source address that this namespace's routes choose for a destination; its own if it is local.
net::Ip source_towards(const net::Ip& destination) {
  const base::Fd fd(::socket(destination.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const probe::SocketAddress address = probe::socket_address(destination, 9);
  (void)::connect(fd.get(), address.raw(), address.size);
  return probe::local_address(fd.get()).ip();
}

Status make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return Error::from_errno(cat("mkdir ", path), errno);
  return {};
}

base::Value texts(std::vector<std::string> items) {
  base::Value::Array out;
  for (std::string& item : items) out.emplace_back(std::move(item));
  return base::Value(std::move(out));
}

base::Value list(base::Value item) {
  base::Value::Array out;
  out.push_back(std::move(item));
  return base::Value(std::move(out));
}

// The pod gets the addresses that its Place says.
base::Value cni_configuration(PodLink link, const Place& pod, const std::string& state) {
  using base::Value;
  Value::Array ranges;
  Value::Array routes;
  for (const net::Family family : {net::Family::V4, net::Family::V6}) {
    const auto length = static_cast<std::uint8_t>(family == net::Family::V4 ? 24 : 64);
    const net::Prefix subnet = net::Prefix::of(pod.ip(family), length);
    ranges.push_back(list(Value().set("subnet", Value(subnet.to_string()))));
    routes.push_back(Value().set("dst", Value(default_route(family).to_string())));
  }
  Value ipam;
  ipam.set("type", Value("host-local")).set("dataDir", Value(state + "/networks"));
  ipam.set("ranges", Value(std::move(ranges))).set("routes", Value(std::move(routes)));
  Value runtime;
  runtime.set("ips", texts({pod.v4.to_string(), pod.v6.to_string()}));
  Value out;
  out.set("cniVersion", Value("1.0.0")).set("name", Value(kPodNetwork)).set("type", Value("fairlead"));
  if (link == PodLink::Bridged) {
    out.set("bridge", Value(kPodBridge)).set("isGateway", Value(true)).set("hairpinMode", Value(true));
  }
  out.set("ipam", std::move(ipam)).set("runtimeConfig", std::move(runtime));
  return out;
}

// For the calling thread and what it starts, /run/fairlead is this directory.
Status see_as_run_fairlead(const std::string& directory) {
  constexpr char kRun[] = "/run/fairlead";
  TRY(make_directory(kRun));
  if (::unshare(CLONE_NEWNS) != 0) return Error::from_errno("unshare(CLONE_NEWNS)", errno);
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return Error::from_errno("mount private", errno);
  if (::mount(directory.c_str(), kRun, nullptr, MS_BIND, nullptr) != 0) {
    return Error::from_errno(cat("bind ", directory, " to ", kRun), errno);
  }
  return {};
}

}  // namespace

std::string host_interface(const std::string& pod) {
  return cni::host_link_name({.network = kPodNetwork, .container_id = pod, .ifname = kPodInterface});
}

Result<LoadReport> Load::next_report(milliseconds limit) {
  const std::string line = TRY(process_.read_line(limit));
  const base::Value value = TRY(base::parse_json(line));
  return load_report_from(value);
}

Result<LoadReport> Load::stop() {
  process_.close_input();
  TRY(process_.wait(std::chrono::seconds(20)));
  // The reports of LoadSpec::report_every_ms that nobody read stand before the final one.
  Result<LoadReport> last = next_report(std::chrono::seconds(1));
  while (last) {
    Result<LoadReport> next = next_report(std::chrono::seconds(1));
    if (!next) break;
    last = std::move(next);
  }
  return last;
}

Testbed::Testbed(Topology topology, std::string prefix, const std::string& cgroup_root)
    : topology_(topology), prefix_(std::move(prefix)), cgroup_(cat(cgroup_root, "/", prefix_)) {}

Result<std::unique_ptr<Testbed>> Testbed::create(const Topology& topology) {
  TRY_CONTEXT(sweep(), "sweep leftovers");
  const std::string cgroups = TRY(cgroup2_root());
  const std::string prefix = TRY(claim_prefix());
  std::unique_ptr<Testbed> testbed(new Testbed(topology, prefix, cgroups));
  TRY_CONTEXT(testbed->build(), "testbed");
  return testbed;
}

Testbed::~Testbed() {
  if (kept_) return;
  probers_.clear();
  servers_.clear();
  if (Status removed = remove_remains(prefix_); !removed) std::cerr << "testbed: " << removed.error().message() << "\n";
  if (reaper_) {
    (void)reaper_->write_line("done").has_value();
    (void)reaper_->wait(std::chrono::seconds(5)).has_value();
  }
}

Status Testbed::keep() {
  TRY(mark_kept(prefix_));
  kept_ = true;
  return reaper_ ? reaper_->write_line("keep") : Status();
}

Status Testbed::build() {
  TRY(start_reaper());
  for (const std::string& directory :
       {dir() + "/netns", dir() + "/log", cgroup_, cgroup_ + "/client", cgroup_ + "/outside"}) {
    TRY(make_directory(directory));
  }
  TRY(add_underlay());
  TRY(add_client());
  for (unsigned node = 1; node <= topology_.nodes; ++node) {
    TRY(add_node(node));
    for (unsigned i = 0; i < topology_.pods_per_node; ++i) TRY(plug_pod(node));
  }
  return wait_until_links_are_up();
}

Status Testbed::start_reaper() {
  reaper_ = TRY(Process::start({.argv = {program_path("fairlead-probe"), "reap", "--prefix", prefix_},
                                .netns = {},
                                .cgroup = {},
                                .log = {},
                                .pipes = Pipes::InOut}));
  return {};
}

std::string Testbed::dir() const { return run_dir(prefix_); }
std::string Testbed::node_dir(unsigned node) const { return cat(dir(), "/node", node); }
std::string Testbed::bpf_root(unsigned node) const { return cat(node_dir(node), "/bpf"); }
std::string Testbed::node_cgroup(unsigned node) const { return cat(cgroup_, "/node", node); }
std::string Testbed::log_path(std::string_view name) const { return cat(dir(), "/log/", name, ".log"); }

Result<Place*> Testbed::place(const std::string& name) {
  const auto found = places_.find(name);
  if (found == places_.end()) return Error(cat("the testbed has no \"", name, "\""));
  return &found->second;
}

Result<std::vector<net::Ip>> Testbed::node_addresses(unsigned node, net::Family family) {
  std::vector<net::Ip> addresses{TRY(place(cat("node", node)))->ip(family)};
  if (topology_.pod_link == PodLink::Bridged) {
    addresses.push_back(ip(family == net::Family::V4 ? cat("10.244.", node, ".1") : cat("fd00:10:244:", node, "::1")));
  }
  return addresses;
}

std::vector<const Place*> Testbed::places() const {
  std::vector<const Place*> all;
  for (const auto& [name, place] : places_) all.push_back(&place);
  return all;
}

std::vector<const Place*> Testbed::pods() const {
  std::vector<const Place*> found;
  for (const auto& [name, place] : places_) {
    if (name.rfind("pod", 0) == 0) found.push_back(&place);
  }
  return found;
}

Result<Place*> Testbed::add_place(Place place, const Sysctls& sysctls) {
  place.netns = std::make_unique<NetNamespace>(TRY(NetNamespace::create(cat(dir(), "/netns/", place.name), sysctls)));
  TRY(make_directory(place.cgroup));
  const std::string name = place.name;
  return &places_.insert_or_assign(name, std::move(place)).first->second;
}

Status Testbed::add_underlay() {
  underlay_ =
      std::make_unique<NetNamespace>(TRY(NetNamespace::create(cat(dir(), "/netns/underlay"), endpoint_sysctls())));
  Netlink& netlink = underlay_->netlink();
  netlink.add_bridge({.name = "underlay", .index = kBridge, .mac = mac(1, 0, 0)});
  netlink.add_address(kBridge, gateway4(), 24);
  netlink.add_address(kBridge, gateway6(), 64);
  for (const net::Family family : {net::Family::V4, net::Family::V6}) {
    netlink.add_route({.to = default_route(family), .via = {}, .source = {}, .blackhole = true});
  }
  return netlink.commit();
}

Status Testbed::plug_into_underlay(Place& place, int port_index) {
  const auto number = static_cast<unsigned>(port_index);
  Netlink& underlay = underlay_->netlink();
  underlay.add_veth({.name = place.name, .index = port_index, .mac = mac(2, number, 0)},
                    {.name = "eth0", .index = kEth0, .mac = mac(3, number, 0), .netns_fd = place.netns->fd()}, kBridge);
  underlay.set_up(port_index);
  TRY_CONTEXT(underlay.commit(), place.name);
  Netlink& own = place.netns->netlink();
  own.set_up(kEth0);
  own.add_address(kEth0, place.v4, 24);
  own.add_address(kEth0, place.v6, 64);
  links_.insert(links_.end(), {{underlay_.get(), port_index}, {place.netns.get(), kEth0}});
  return own.commit();
}

Status Testbed::add_client() {
  Place* client = TRY(add_place({.name = "client",
                                 .node = 0,
                                 .v4 = ip("172.18.0.100"),
                                 .v6 = ip("fd00:172:18::100"),
                                 .cgroup = cat(cgroup_, "/client"),
                                 .netns = nullptr},
                                endpoint_sysctls()));
  return plug_into_underlay(*client, kClientPort);
}

Status Testbed::make_directories(unsigned node) {
  for (const std::string& path : {node_cgroup(node), cat(node_cgroup(node), "/pods"), cat(node_cgroup(node), "/agent"),
                                  node_dir(node), cat(node_dir(node), "/cni"), bpf_root(node)}) {
    TRY(make_directory(path));
  }
  if (::mount("bpf", bpf_root(node).c_str(), "bpf", 0, "mode=0700") != 0) {
    return Error::from_errno(cat("mount bpffs on ", bpf_root(node)), errno);
  }
  return {};
}

Status Testbed::add_node(unsigned node) {
  TRY(make_directories(node));
  Place* place = TRY(add_place({.name = cat("node", node),
                                .node = node,
                                .v4 = ip(cat("172.18.0.", node)),
                                .v6 = ip(cat("fd00:172:18::", node)),
                                .cgroup = cat(node_cgroup(node), "/host"),
                                .netns = nullptr},
                               node_sysctls()));
  TRY(plug_into_underlay(*place, kFirstPort + static_cast<int>(node)));
  Netlink& netlink = place->netns->netlink();
  netlink.add_route({.to = default_route(net::Family::V4), .via = gateway4(), .interface_index = kEth0, .source = {}});
  netlink.add_route({.to = default_route(net::Family::V6), .via = gateway6(), .interface_index = kEth0, .source = {}});
  for (unsigned other = 1; other <= topology_.nodes; ++other) {
    if (other == node) continue;
    netlink.add_route({.to = network(cat("10.244.", other, ".0/24")),
                       .via = ip(cat("172.18.0.", other)),
                       .interface_index = kEth0,
                       .source = {}});
    netlink.add_route({.to = network(cat("fd00:10:244:", other, "::/64")),
                       .via = ip(cat("fd00:172:18::", other)),
                       .interface_index = kEth0,
                       .source = {}});
  }
  return netlink.commit();
}

Result<Place*> Testbed::plug_pod(unsigned node) {
  const unsigned position = pod_counts_[node]++;
  const std::string name = cat("pod", node, static_cast<char>('a' + position));
  Place* pod = TRY(add_place({.name = name,
                              .node = node,
                              .v4 = ip(cat("10.244.", node, ".", 10 + position)),
                              .v6 = ip(cat("fd00:10:244:", node, "::", 10 + position)),
                              .cgroup = cat(node_cgroup(node), "/pods/", name),
                              .netns = nullptr},
                             endpoint_sysctls()));
  TRY_CONTEXT(wire(*pod), name);
  return pod;
}

// As a runtime does: the CNI binary is started in the node's namespace, with the pod's by path. What it keeps in
// /run/fairlead/cni is the testbed's own.
Status Testbed::wire(const Place& pod) {
  const Place* host = TRY(place(cat("node", pod.node)));
  const std::string state = cat(node_dir(pod.node), "/cni");
  const std::vector<std::string> argv{"/usr/bin/env",
                                      "CNI_COMMAND=ADD",
                                      cat("CNI_CONTAINERID=", pod.name),
                                      cat("CNI_NETNS=", pod.netns->path()),
                                      cat("CNI_IFNAME=", kPodInterface),
                                      program_path("cni/fairlead")};
  const std::string stdin_text = base::to_json(cni_configuration(topology_.pod_link, pod, state));
  return in_namespace(host->netns->fd(), [&]() -> Status {
    TRY(see_as_run_fairlead(state));
    const base::ProcessOutput output = TRY(base::run_process(argv, stdin_text));
    if (output.exit_code != 0) return Error(cat("CNI ADD: ", output.out, output.err));
    return {};
  });
}

Result<Place*> Testbed::add_host(const std::string& name, unsigned number) {
  Place* host = TRY(add_place({.name = name,
                               .node = 0,
                               .v4 = ip(cat("172.18.0.", number)),
                               .v6 = ip(cat("fd00:172:18::", number)),
                               .cgroup = cat(cgroup_, "/", name),
                               .netns = nullptr},
                              endpoint_sysctls()));
  TRY(plug_into_underlay(*host, kFirstPort + static_cast<int>(number)));
  TRY(wait_until_links_are_up());
  return host;
}

Result<Place*> Testbed::add_pod(unsigned node) {
  Place* pod = TRY(plug_pod(node));
  TRY(wait_until_links_are_up());
  return pod;
}

// Carrier is told to the queueing discipline and to the bridge by a worker of the kernel, which holds the same lock as
// the question asked here; until then packets are dropped.
Status Testbed::wait_until_links_are_up() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  for (const auto& [netns, index] : std::exchange(links_, {})) {
    while (TRY(netns->netlink().operational_state(index)) != IF_OPER_UP) {
      if (std::chrono::steady_clock::now() > deadline) {
        return Error(cat("interface ", index, " in ", netns->path(), " does not come up"));
      }
      ::poll(nullptr, 0, 1);
    }
  }
  return {};
}

Status Testbed::add_address(const std::string& at, const net::Ip& address) {
  Netlink& netlink = TRY(place(at))->netns->netlink();
  netlink.add_spare_address(kEth0, address);
  TRY(netlink.commit());
  // A worker of the kernel makes the local route of an IPv6 address, later.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  return run_in(at, [&]() -> Status {
    while (source_towards(address) != address) {
      if (std::chrono::steady_clock::now() > deadline) return Error(cat(address.to_string(), " does not become local"));
      ::poll(nullptr, 0, 1);
    }
    return {};
  });
}

Status Testbed::delete_address(const std::string& at, const net::Ip& address) {
  Netlink& netlink = TRY(place(at))->netns->netlink();
  netlink.delete_address(kEth0, address, address.is_v4() ? 32 : 128);
  return netlink.commit();
}

Status Testbed::route_via_node(const std::string& from, const net::Prefix& to, unsigned node) {
  const Place* via = TRY(place(cat("node", node)));
  Netlink& netlink = TRY(place(from))->netns->netlink();
  netlink.add_route({.to = to, .via = via->ip(to.family()), .interface_index = kEth0, .source = {}});
  return netlink.commit();
}

Result<Process> Testbed::start(const std::string& at, const std::vector<std::string>& argv, const std::string& log_name,
                               Pipes pipes, Membership membership) {
  const Place* where = TRY(place(at));
  return Process::start({.argv = argv,
                         .netns = where->netns->path(),
                         .cgroup = membership == Membership::Inside ? where->cgroup : cgroup_ + "/outside",
                         .log = log_path(log_name),
                         .pipes = pipes});
}

Result<base::ProcessOutput> Testbed::run(const std::string& at, const std::vector<std::string>& argv,
                                         milliseconds limit) {
  const Place* where = TRY(place(at));
  return base::run_process(wrapped({.argv = argv, .netns = where->netns->path(), .cgroup = where->cgroup, .log = {}}),
                           {}, limit);
}

Status Testbed::run_in(const std::string& at, const std::function<Status()>& work) {
  return in_namespace(TRY(place(at))->netns->fd(), work);
}

Status Testbed::serve(const std::string& at, const std::vector<std::string>& listeners, const std::string& key) {
  stop_server(at, key);
  std::vector<std::string> argv{program_path("fairlead-probe"), "serve", "--name", at};
  for (const std::string& listener : listeners) argv.insert(argv.end(), {"--listen", listener});
  Process server = TRY(start(at, argv, cat("serve-", at, key), Pipes::InOut));
  TRY_CONTEXT(server.read_line(std::chrono::seconds(5)), cat("server at ", at));
  servers_.insert_or_assign({at, key}, std::move(server));
  return {};
}

void Testbed::stop_server(const std::string& at, const std::string& key) { servers_.erase({at, key}); }

Result<Process*> Testbed::prober(const std::string& from, Membership membership) {
  const std::pair key{from, membership};
  auto found = probers_.find(key);
  if (found == probers_.end()) {
    Process process =
        TRY(start(from, {program_path("fairlead-probe"), "prober"},
                  cat("prober-", from, membership == Membership::Inside ? "" : "-outside"), Pipes::InOut, membership));
    found = probers_.emplace(key, std::move(process)).first;
  }
  return &found->second;
}

Result<std::vector<Attempt>> Testbed::connect(const std::string& from, const ConnectSpec& spec, Membership membership) {
  base::Value::Array request;
  for (const std::string& argument : to_arguments(spec)) request.emplace_back(argument);
  Process* process = TRY(prober(from, membership));
  TRY(process->write_line(base::to_json(base::Value(std::move(request)))));
  const unsigned rounds = spec.count / std::max(1U, spec.parallel) + 1;
  const milliseconds limit(std::size_t{rounds} * spec.timeout_ms * (spec.requests + 2) + 5000);
  const std::string line = TRY(process->read_line(limit));
  const base::Value answer = TRY_CONTEXT(base::parse_json(line), cat("prober at ", from));
  return attempts_from(answer);
}

std::uint16_t Testbed::take_source_ports(unsigned count) {
  if (next_source_port_ + count > 29000) next_source_port_ = 10000;
  return static_cast<std::uint16_t>(std::exchange(next_source_port_, next_source_port_ + count));
}

Result<std::unique_ptr<Load>> Testbed::start_load(const std::string& from, const LoadSpec& spec,
                                                  Membership membership) {
  std::vector<std::string> argv{program_path("fairlead-probe"), "load"};
  for (const std::string& argument : to_arguments(spec)) argv.push_back(argument);
  return std::make_unique<Load>(TRY(start(from, argv, cat("load-", from, "-", ++loads_), Pipes::InOut, membership)));
}

}  // namespace fairlead::testbed
