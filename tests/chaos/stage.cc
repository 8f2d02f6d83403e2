#include "tests/chaos/stage.h"

#include <poll.h>

#include <chrono>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "tests/datapath/service_spec.h"

namespace fairlead::tests::chaos {
namespace {

using apiserver::Resource;
using base::cat;
using net::Family;
using testbed::milliseconds;
using testbed::Transport;

constexpr testbed::ServiceAddresses kWeb{.number = 1};
constexpr unsigned kRate = 40;  // requests per second of one load
constexpr std::uint16_t kPodPort = 8080;
constexpr const char* kPods = "10.244.0.0/16,fd00:10:244::/48";

testbed::ServiceSpec web() {
  testbed::ServiceSpec service;
  service.exposure = testbed::Exposure::NodePort;
  service.ports = {{.name = "t", .port = 80, .transport = Transport::Tcp, .target = kPodPort},
                   {.name = "u", .port = 80, .transport = Transport::Udp, .target = kPodPort}};
  service.slices = {{.endpoints = {testbed::ready("pod1b"), testbed::ready("pod2b")}}};
  service.families = testbed::Families::Both;
  return service;
}

kube::ServiceCidr service_cidr(const char* name, const char* v4, const char* v6) {
  kube::ServiceCidr cidr;
  cidr.meta.key.name = name;
  cidr.cidrs = {*net::Prefix::parse(v4), *net::Prefix::parse(v6)};
  return cidr;
}

}  // namespace

Universe universe() {
  Universe out;
  for (unsigned n = 1; n <= kNodes; ++n) {
    kube::Node node;
    node.meta.key.name = cat("node", n);
    node.internal_ips = {*net::Ip::parse(cat("172.18.0.", n)), *net::Ip::parse(cat("fd00:172:18::", n))};
    node.pod_cidrs = {*net::Prefix::parse(cat("10.244.", n, ".0/24")),
                      *net::Prefix::parse(cat("fd00:10:244:", n, "::/64"))};
    out.endpoint_addresses.insert(out.endpoint_addresses.end(), node.internal_ips.begin(), node.internal_ips.end());
    out.nodes.push_back(std::move(node));
    for (unsigned pod = 10; pod < 16; ++pod) {
      out.endpoint_addresses.push_back(*net::Ip::parse(cat("10.244.", n, ".", pod)));
      out.endpoint_addresses.push_back(*net::Ip::parse(cat("fd00:10:244:", n, "::", pod)));
    }
  }
  out.cidrs = {service_cidr("kubernetes", "10.96.0.0/16", "fd00:10:96::/112"),
               service_cidr("more", "10.97.0.0/16", "fd00:10:97::/112"),
               service_cidr("nested", "10.96.200.0/24", "fd00:10:96::c8:0/112")};
  return out;
}

Stage::~Stage() = default;

Status Stage::start_server() {
  const testbed::Place* host = TRY(bed_->add_host("apiserver", 120));
  const std::string address = host->v4.to_string();
  apiserver::Options options;
  options.listen = address + ":6443";
  options.extra_names = {address};
  const Status started = bed_->run_in(host->name, [&]() -> Status {
    server_ = TRY(apiserver::TestApiServer::start(options));
    return {};
  });
  TRY(started);
  kubeconfig_ = bed_->dir() + "/kubeconfig";
  return base::write_file_atomically(kubeconfig_, server_->kubeconfig(apiserver::KubeconfigOptions{.host = address}));
}

Status Stage::build(std::vector<apiserver::Manifest> objects) {
  bed_ = TRY(testbed::Testbed::create({.nodes = kNodes, .pods_per_node = 2}));
  TRY(start_server());
  for (unsigned node = 1; node <= kNodes; ++node) {
    TRY(bed_->run_in(cat("node", node), [] {
      const std::string seconds = cat(kForgetSeconds);
      return testbed::set_sysctls({{"net/netfilter/nf_conntrack_udp_timeout", seconds},
                                   {"net/netfilter/nf_conntrack_tcp_timeout_syn_sent", seconds}});
    }));
  }
  const auto untouched = TRY(testbed::manifests(web(), kWeb, Family::V4, *bed_));
  auto parsed = TRY(apiserver::parse_manifests(testbed::list_document(untouched)));
  TRY(server_->load(std::move(parsed)));
  TRY(server_->load(std::move(objects)));
  for (unsigned node = 1; node <= kNodes; ++node) {
    agents_.push_back(std::make_unique<testbed::AgentProcess>(
        *bed_, node, dataplane_, std::vector<std::string>{"--kubeconfig", kubeconfig_, "--cluster-cidr", kPods}));
    TRY(agents_.back()->launch());
  }
  for (auto& agent : agents_) TRY(agent->wait_until_settled());
  return {};
}

Result<std::unique_ptr<Stage>> Stage::create(const std::string& dataplane, std::vector<apiserver::Manifest> objects) {
  std::unique_ptr<Stage> stage(new Stage(dataplane));
  TRY(stage->build(std::move(objects)));
  return stage;
}

Status Stage::write(const Event& event) {
  for (const Edit& edit : event.edits) {
    if (edit.object) {
      TRY_CONTEXT(server_->upsert(edit.resource, *edit.object), cat(event.kind, ", ", edit.key.to_string()));
    } else {
      server_->erase(edit.resource, edit.key);
    }
  }
  return {};
}

Status Stage::wait_for_marker(unsigned node, unsigned count, milliseconds limit) {
  const auto has_it = [&](const testbed::AgentStatus& status) {
    if (!status.settled()) return false;
    const auto text =
        testbed::http_get(agent(node).status_socket(), cat("/v1/services?namespace=", History::kNamespace));
    const auto services = text ? base::parse_json(*text) : Result<base::Value>(text.error());
    if (!services || services->as_array() == nullptr) return false;
    for (const base::Value& service : *services->as_array()) {
      const std::string* name = service["name"].as_string();
      if (name == nullptr || *name != "marker") continue;
      const std::int64_t* total = service["endpoints"]["total"].as_int();
      const base::Value::Array* frontends = service["frontends"].as_array();
      const std::int64_t* port =
          frontends == nullptr || frontends->empty() ? nullptr : frontends->front()["port"].as_int();
      return total != nullptr && *total == count && port != nullptr && *port == 1000 + std::int64_t{count};
    }
    return false;
  };
  TRY(agent(node).wait_for(has_it, "up to date with the cluster", limit));
  return agent(node).wait_until_settled(limit);
}

Result<std::vector<Loading>> start_loads(Stage& stage) {
  testbed::Testbed& bed = stage.bed();
  for (const char* pod : {"pod1b", "pod2b"})
    TRY(bed.serve(pod, {cat("[::]:", kPodPort, "/tcp"), cat("[::]:", kPodPort, "/udp")}));
  const net::Ip node1 = TRY(bed.place("node1"))->v4;
  const net::Ip node2 = TRY(bed.place("node2"))->v6;
  struct Wanted {
    const char* name;
    const char* from;
    testbed::Target to;
    bool long_lived;
  };
  const auto cluster_ip = [](Family family, Transport transport) {
    return testbed::Target{kWeb.cluster_ip(family), 80, transport};
  };
  const std::vector<Wanted> wanted{
      {"ClusterIP TCP, new connections", "pod1a", cluster_ip(Family::V4, Transport::Tcp), false},
      {"ClusterIP TCP, new, IPv6, node2", "pod2a", cluster_ip(Family::V6, Transport::Tcp), false},
      {"ClusterIP TCP, standing", "pod1a", cluster_ip(Family::V4, Transport::Tcp), true},
      {"ClusterIP UDP", "pod1a", cluster_ip(Family::V4, Transport::Udp), false},
      {"NodePort TCP, new, from outside", "client", {node1, kWeb.node_port(0), Transport::Tcp}, false},
      {"NodePort TCP, standing, IPv6", "client", {node2, kWeb.node_port(0), Transport::Tcp}, true},
      {"NodePort UDP, from outside", "client", {node1, kWeb.node_port(1), Transport::Udp}, false}};
  std::vector<Loading> loads;
  for (const Wanted& each : wanted) {
    auto load = TRY(bed.start_load(each.from, {.to = each.to,
                                               .long_lived = each.long_lived,
                                               .parallel = 2,
                                               .rate = kRate,
                                               .timeout_ms = kLoadTimeoutMs,
                                               .report_every_ms = 200}));
    loads.push_back({.name = each.name, .load = std::move(load)});
  }
  return loads;
}

}  // namespace fairlead::tests::chaos
