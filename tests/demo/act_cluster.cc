// The cluster is raised, the agents start, and every service is asked once.

#include <unistd.h>

#include <algorithm>
#include <optional>
#include <set>

#include "base/strings.h"
#include "tests/datapath/remains.h"
#include "tests/demo/interrupt.h"
#include "tests/demo/show.h"

namespace fairlead::demo {
namespace {

using base::cat;
using std::chrono::steady_clock;

constexpr const char* kAsker = "pod3a";
constexpr unsigned kTimes = 120;  // one of six is missed by chance once in 500 million runs
// A kernel sends 50 ICMP errors at once and then 1,000 a second (linux net/ipv4/icmp.c icmp_global_allow).
constexpr unsigned kTimesRefused = 15;

// The places behind one port of a service in one family.
std::vector<std::string> ready_places(const Cluster& cluster, const kube::Service& service,
                                      const kube::ServicePort& port, net::Family family) {
  std::set<std::string> places;
  for (const kube::EndpointSlice* slice : cluster.manifests().slices_of(service.meta.key)) {
    const bool v4 = slice->address_type == kube::AddressType::Ipv4;
    const bool has_port = std::any_of(slice->ports.begin(), slice->ports.end(), [&](const kube::EndpointPort& each) {
      return each.name == port.name && each.protocol == port.protocol;
    });
    if (v4 != (family == net::Family::V4) || !has_port) continue;
    for (const kube::Endpoint& endpoint : slice->endpoints) {
      if (endpoint.ready.value_or(true)) places.insert(cluster.place_at(endpoint.address));
    }
  }
  return {places.begin(), places.end()};
}

std::optional<testbed::Transport> transport_of(kube::Protocol protocol) {
  switch (protocol) {
    case kube::Protocol::Tcp: return testbed::Transport::Tcp;
    case kube::Protocol::Udp: return testbed::Transport::Udp;
    case kube::Protocol::Sctp: return std::nullopt;  // not in every kernel
  }
  return std::nullopt;
}

bool all_refused(const Answers& answers) {
  const auto refused = answers.errors.find("refused");
  return refused != answers.errors.end() && refused->second == answers.asked;
}

// A row per frontend; true when each was answered by exactly those who should.
class Roll {
 public:
  explicit Roll(Cluster& cluster) : cluster_(cluster) {}

  Status ask(const std::string& from, const kube::Service& service, const testbed::Target& to,
             const std::vector<std::string>& expected) {
    const Answers answers = TRY(demo::ask(cluster_, from, to, expected.empty() ? kTimesRefused : kTimes));
    const bool good = expected.empty()
                          ? all_refused(answers)
                          : answers.failed() == 0 && answers.only_from(expected) && answers.all_of(expected);
    as_promised_ = as_promised_ && good;
    const std::string name = service.meta.key.to_string();
    table_.add({name == last_service_ ? "" : name, to.to_string(), from, text(answers),
                answers.latencies_us.empty() ? "" : cat(answers.percentile_us(50), " us"), good ? "" : "<- wrong"});
    last_service_ = name;
    return {};
  }
  bool as_promised() const { return as_promised_; }
  const Table& table() const { return table_; }

 private:
  static std::string text(const Answers& answers) {
    if (all_refused(answers)) return "nobody: refused at once";
    std::set<std::string> answered;
    for (const auto& [pod, times] : answers.by_pod) answered.insert(pod);
    const std::string names = answered.empty() ? "nobody" : base::join({answered.begin(), answered.end()}, " ");
    return answers.failed() == 0 ? names : cat(names, "; ", answers.error_text());
  }

  Cluster& cluster_;
  std::string last_service_;
  bool as_promised_ = true;
  Table table_{{{"service", Align::Left},
                {"address", Align::Left},
                {"asked from", Align::Left},
                {"answered by", Align::Left},
                {"p50", Align::Right},
                {"", Align::Left}}};
};

}  // namespace

Status check_surroundings() {
  if (::geteuid() != 0) return Error("the demo makes network namespaces and needs root\nhint: sudo ./dev demo");
  const auto cgroups = testbed::cgroup2_root();
  if (!cgroups) {
    return Error(cat(cgroups.error().message(),
                     "\nhint: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified"));
  }
  for (const char* program : {"fairlead-probe", "fairlead-agent", "fairleadctl"}) {
    const std::string path = testbed::program_path(program);
    if (::access(path.c_str(), X_OK) != 0) return Error(cat(path, " is missing\nhint: ./dev build"));
  }
  return {};
}

Status raise_the_cluster(Show& show) {
  const auto begin = steady_clock::now();
  show.cluster = TRY(Cluster::build(FAIRLEAD_EXAMPLES));
  show.screen.step(
      cat("three nodes, six pods, one client: namespaces linked in ", milliseconds_text(steady_clock::now() - begin)));
  TRY(show.cluster->start_servers());
  TRY(show.cluster->open_source(show.options.api));
  show.screen.step(cat("a server in every pod; ", show.cluster->manifests().services().size(),
                       " services of examples/manifests, read from ", show.cluster->source().description()));
  return Interrupt::check();
}

Status start_the_agents(Show& show) {
  const auto begin = steady_clock::now();
  TRY(show.cluster->start_agents(show.options.dataplane));
  const auto took = steady_clock::now() - begin;
  const testbed::AgentStatus status = TRY(show.cluster->agent(1).status());
  show.dataplane = status.dataplane;
  show.screen.step(cat("three agents in sync after ", milliseconds_text(took), ": dataplane ",
                       show.screen.strong(show.dataplane), ", ", status.services, " services, ",
                       status.first_sync_writes, " kernel writes on node1"));
  const base::ProcessOutput probe = TRY(show.cluster->agent(1).command("probe"));
  for (const std::string_view line : base::split(base::trim(probe.out), '\n')) show.screen.note(line);
  return Interrupt::check();
}

Status ask_every_service(Show& show) {
  show.screen.step("every service is asked at each of its addresses");
  Cluster& cluster = *show.cluster;
  Roll roll(cluster);
  for (const kube::Service& service : cluster.manifests().services()) {
    for (const kube::ServicePort& port : service.ports) {
      const auto transport = transport_of(port.protocol);
      if (!transport) continue;
      for (const net::Ip& ip : service.cluster_ips) {
        TRY(roll.ask(kAsker, service, {ip, port.port, *transport}, ready_places(cluster, service, port, ip.family())));
      }
      if (port.node_port == 0) continue;
      testbed::Target outside = cluster.node_port(2, net::Family::V4);
      outside.port = port.node_port;
      outside.transport = *transport;
      TRY(roll.ask("client", service, outside, ready_places(cluster, service, port, net::Family::V4)));
    }
  }
  show.screen.title("Services");
  show.screen.table(roll.table());
  show.screen.promise(roll.as_promised(),
                      "each service is answered by all its ready endpoints and by nobody else, or refuses at once");
  return {};
}

}  // namespace fairlead::demo
