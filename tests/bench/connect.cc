#include "tests/bench/connect.h"

#include <array>
#include <cstdio>
#include <iterator>
#include <memory>
#include <utility>

#include "base/strings.h"
#include "kube/store.h"
#include "proxy/dataplane/dataplane.h"
#include "proxy/dataplane/select.h"
#include "proxy/model/resolve.h"
#include "tests/bench/cluster.h"
#include "tests/datapath/testbed.h"

namespace fairlead::tests::bench {
namespace {

using testbed::Testbed;

constexpr std::uint16_t kPodPort = 8080;
const net::Ip kClusterIp = net::Ip::v4(10, 96, 0, 10);
const net::Ip kAffinityIp = net::Ip::v4(10, 96, 0, 11);
const net::Ip kRestrictedIp = net::Ip::v4(10, 96, 0, 12);
const net::Ip kLoadBalancerIp = net::Ip::v4(203, 0, 113, 1);
// Of the row's dataplane: "ebpf", "affinity/ebpf", ... In the order of the exchanges; the first is the pod itself.
constexpr const char* kPaths[] = {"direct/", "", "affinity/", "restricted/"};
constexpr auto kLimit = std::chrono::minutes(5);

struct Timing {
  double p50 = 0;
  double p99 = 0;
  double mean = 0;
};

Result<Timing> read_timing(testbed::Process& client) {
  const std::string line = TRY(client.read_line(kLimit));
  const auto fields = base::split(base::trim(line), ' ');
  if (fields.size() != 3) return Error("the client answered: " + line + " " + client.log());
  return Timing{.p50 = base::parse_number<double>(fields[0]).value_or(-1),
                .p99 = base::parse_number<double>(fields[1]).value_or(-1),
                .mean = base::parse_number<double>(fields[2]).value_or(-1)};
}

std::vector<net::Prefix> testbed_pods() {
  return {*net::Prefix::parse("10.244.0.0/16"), *net::Prefix::parse("fd00:10:244::/48")};
}

void add_service(kube::Store& store, const std::string& name, const net::Ip& pod, kube::Service service) {
  service.meta.key = {"bench", name};
  service.ip_families = {net::Family::V4};
  service.ports.push_back({.name = "http", .protocol = kube::Protocol::Tcp, .port = 80});
  kube::EndpointSlice slice =
      std::get<kube::EndpointSlice>(make_slices({.services = 1, .endpoints_per_service = 1}).front());
  slice.meta.key = {"bench", name + "-slice"};
  slice.service_name = name;
  slice.endpoints.front().address = pod;
  slice.endpoints.front().topology = kube::Topology{.node_name = "node1"};
  store.upsert(std::move(service));
  store.upsert(std::move(slice));
}

// The measured services with one endpoint each, among so many others that all of them are `size`.
std::vector<proxy::model::ServiceState> make_states(ClusterSize size, const net::Ip& pod) {
  kube::Store store;
  size.services -= 1;
  store.replace(kube::Kind::Service, make_services(size));
  store.replace(kube::Kind::EndpointSlice, make_slices(size));
  kube::Service plain;
  plain.cluster_ips = {kClusterIp};
  add_service(store, "measured", pod, plain);
  kube::Service sticky;
  sticky.cluster_ips = {kAffinityIp};
  sticky.session_affinity = kube::SessionAffinity::ClientIp;
  add_service(store, "measured-affinity", pod, sticky);
  kube::Service restricted;
  restricted.cluster_ips = {kRestrictedIp};
  restricted.type = kube::ServiceType::LoadBalancer;
  restricted.load_balancer_ips = {kLoadBalancerIp};
  restricted.load_balancer_source_ranges = testbed_pods();
  restricted.load_balancer_source_ranges.push_back(*net::Prefix::parse("192.0.2.0/24"));
  add_service(store, "measured-restricted", pod, restricted);
  return proxy::model::resolve_all(store, make_node_view(testbed_pods()));
}

Result<std::unique_ptr<proxy::dataplane::Dataplane>> program(const std::string& name, Testbed& bed,
                                                             const ClusterSize& size, const net::Ip& pod) {
  proxy::dataplane::Options options;
  options.cgroup = bed.node_cgroup(1);
  options.bpf_root = bed.bpf_root(1);
  const auto chosen = TRY(proxy::dataplane::select(name, proxy::dataplane::modules(), options));
  auto dataplane = TRY(chosen.module.open(options));
  const auto report =
      dataplane->replace(proxy::model::node_state(make_node_view(testbed_pods())), make_states(size, pod));
  if (!report.ok()) return report.failures.front().error;
  return dataplane;
}

using Timings = std::array<Timing, std::size(kPaths)>;

Result<Timings> measure(const std::string& dataplane_name, const ClusterSize& size, unsigned rounds) {
  const auto bed = TRY(Testbed::create({.nodes = 1, .pods_per_node = 2}));
  const net::Ip pod = TRY(bed->place("pod1b"))->v4;
  const int node = TRY(bed->place("node1"))->netns->fd();
  std::unique_ptr<proxy::dataplane::Dataplane> dataplane;
  const Status programmed = testbed::in_namespace(node, [&]() -> Status {
    dataplane = TRY(program(dataplane_name, *bed, size, pod));
    return {};
  });
  TRY(programmed);
  const std::string self = testbed::program_path("fairlead-bench");
  auto server =
      TRY(bed->start("pod1b", {self, "child-serve", base::cat(kPodPort), "A"}, "server", testbed::Pipes::InOut));
  if (TRY(server.read_line(std::chrono::seconds(5))) != "ready")
    return Error("the server did not start: " + server.log());
  std::vector<std::string> command{self, "child-exchange", base::cat(rounds), pod.to_string(), base::cat(kPodPort)};
  for (const net::Ip& ip : {kClusterIp, kAffinityIp, kLoadBalancerIp}) {
    command.push_back(ip.to_string());
    command.emplace_back("80");
  }
  auto client = TRY(bed->start("pod1a", command, "client", testbed::Pipes::InOut));
  Timings timings;
  for (Timing& timing : timings) timing = TRY(read_timing(client));
  return timings;
}

void add_rows(std::vector<Row>& rows, Row row, const Timing& timing, const Timing& direct) {
  const auto add = [&](const char* metric, double value, const char* unit) {
    row.metric = metric;
    row.value = value;
    row.unit = unit;
    rows.push_back(row);
  };
  add("p50", timing.p50, "us");
  add("p99", timing.p99, "us");
  add("rate", 1e6 / timing.mean, "1/s");
  add("ratio_p50", timing.p50 / direct.p50, "ratio");
}

}  // namespace

Result<std::vector<Row>> bench_connect(const ConnectPlan& plan) {
  std::vector<Row> rows;
  for (const std::string& dataplane : plan.dataplanes) {
    for (const ClusterKind kind : plan.clusters) {
      for (const std::uint32_t services : plan.services) {
        const std::string what = base::cat(dataplane, ", ", to_string(kind), ", ", services, " services");
        std::fprintf(stderr, "connect: %s, %u exchanges each way\n", what.c_str(), plan.rounds);
        const auto timings = measure(dataplane, {.services = services, .kind = kind}, plan.rounds);
        if (!timings) {
          std::fprintf(stderr, "connect: %s: NOT MEASURED: %s\n", what.c_str(), timings.error().message().c_str());
          continue;
        }
        for (std::size_t i = 0; i < std::size(kPaths); ++i) {
          add_rows(rows,
                   {.bench = "connect",
                    .dataplane = kPaths[i] + dataplane,
                    .cluster = std::string(to_string(kind)),
                    .services = services,
                    .endpoints_per_service = 10,
                    .metric = {},
                    .value = 0,
                    .unit = {},
                    .samples = plan.rounds},
                   (*timings)[i], timings->front());
        }
      }
    }
  }
  return rows;
}

}  // namespace fairlead::tests::bench
