#include "tests/bench/connect.h"

#include <cstdio>
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

// The measured service with one endpoint, among `services` - 1 others of ten endpoints.
std::vector<proxy::model::ServiceState> make_states(std::uint32_t services, const net::Ip& pod) {
  const proxy::model::NodeView node{.name = "node1", .zone = {}};
  kube::Store store;
  const ClusterSize size{.services = services - 1};
  store.replace(kube::Kind::Service, make_services(size));
  store.replace(kube::Kind::EndpointSlice, make_slices(size));
  kube::Service service = std::get<kube::Service>(make_services({.services = 1}).front());
  service.meta.key = {"bench", "measured"};
  service.cluster_ips = {kClusterIp};
  kube::EndpointSlice slice =
      std::get<kube::EndpointSlice>(make_slices({.services = 1, .endpoints_per_service = 1}).front());
  slice.meta.key = {"bench", "measured-slice"};
  slice.service_name = "measured";
  slice.endpoints.front().address = pod;
  store.upsert(std::move(service));
  store.upsert(std::move(slice));
  return proxy::model::resolve_all(store, node);
}

Result<std::unique_ptr<proxy::dataplane::Dataplane>> program(const std::string& name, Testbed& bed,
                                                             std::uint32_t services, const net::Ip& pod) {
  proxy::dataplane::Options options;
  options.cgroup = bed.node_cgroup(1);
  options.bpf_root = bed.bpf_root(1);
  const auto chosen = TRY(proxy::dataplane::select(name, proxy::dataplane::modules(), options));
  auto dataplane = TRY(chosen.module.open(options));
  const auto report = dataplane->replace({}, make_states(services, pod));
  if (!report.ok()) return report.failures.front().error;
  return dataplane;
}

struct Pair {
  Timing direct;
  Timing service;
};

Result<Pair> measure(const std::string& dataplane_name, std::uint32_t services, unsigned rounds) {
  const auto bed = TRY(Testbed::create({.nodes = 1, .pods_per_node = 2}));
  const net::Ip pod = TRY(bed->place("pod1b"))->v4;
  const int node = TRY(bed->place("node1"))->netns->fd();
  std::unique_ptr<proxy::dataplane::Dataplane> dataplane;
  const Status programmed = testbed::in_namespace(node, [&]() -> Status {
    dataplane = TRY(program(dataplane_name, *bed, services, pod));
    return {};
  });
  TRY(programmed);
  const std::string self = testbed::program_path("fairlead-bench");
  auto server =
      TRY(bed->start("pod1b", {self, "child-serve", base::cat(kPodPort), "A"}, "server", testbed::Pipes::InOut));
  if (TRY(server.read_line(std::chrono::seconds(5))) != "ready")
    return Error("the server did not start: " + server.log());
  auto client = TRY(bed->start(
      "pod1a",
      {self, "child-exchange", base::cat(rounds), pod.to_string(), base::cat(kPodPort), kClusterIp.to_string(), "80"},
      "client", testbed::Pipes::InOut));
  Pair pair;
  pair.direct = TRY(read_timing(client));
  pair.service = TRY(read_timing(client));
  return pair;
}

void add_rows(std::vector<Row>& rows, const std::string& dataplane, std::uint32_t services, const Timing& timing,
              unsigned rounds) {
  const Row base{.bench = "connect",
                 .dataplane = dataplane,
                 .services = services,
                 .endpoints_per_service = 10,
                 .metric = {},
                 .value = 0,
                 .unit = "us",
                 .samples = rounds};
  const auto add = [&](const char* metric, double value, const char* unit) {
    Row row = base;
    row.metric = metric;
    row.value = value;
    row.unit = unit;
    rows.push_back(std::move(row));
  };
  add("p50", timing.p50, "us");
  add("p99", timing.p99, "us");
  add("rate", 1e6 / timing.mean, "1/s");
}

}  // namespace

Result<std::vector<Row>> bench_connect(const ConnectPlan& plan) {
  std::vector<Row> rows;
  for (const std::string& dataplane : plan.dataplanes) {
    for (const std::uint32_t services : plan.services) {
      std::fprintf(stderr, "connect: %s, %u services, %u exchanges each way\n", dataplane.c_str(), services,
                   plan.rounds);
      const Pair pair =
          TRY_CONTEXT(measure(dataplane, services, plan.rounds), base::cat(dataplane, ", ", services, " services"));
      add_rows(rows, "direct/" + dataplane, services, pair.direct, plan.rounds);
      add_rows(rows, dataplane, services, pair.service, plan.rounds);
      rows.push_back({.bench = "connect",
                      .dataplane = dataplane,
                      .services = services,
                      .endpoints_per_service = 10,
                      .metric = "ratio_p50",
                      .value = pair.service.p50 / pair.direct.p50,
                      .unit = "ratio",
                      .samples = plan.rounds});
    }
  }
  return rows;
}

}  // namespace fairlead::tests::bench
