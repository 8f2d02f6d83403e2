#include "tests/demo/cluster.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "tests/demo/interrupt.h"

namespace fairlead::demo {
namespace {

using base::cat;
using base::Value;
using testbed::Testbed;

constexpr const char* kSubject = "web";

std::string_view transport_name(kube::Protocol protocol) {
  switch (protocol) {
    case kube::Protocol::Tcp: return "tcp";
    case kube::Protocol::Udp: return "udp";
    case kube::Protocol::Sctp: return "sctp";
  }
  return "";
}

bool is(const Value& value, const std::string& text) {
  return value.as_string() != nullptr && *value.as_string() == text;
}

}  // namespace

Result<std::unique_ptr<Cluster>> Cluster::build(const std::string& manifests_directory) {
  std::unique_ptr<Cluster> cluster(new Cluster(TRY(Manifests::load(manifests_directory))));
  TRY_CONTEXT(cluster->find_subject(), manifests_directory);
  cluster->testbed_ = TRY(Testbed::create({.nodes = 3, .pods_per_node = 2}));
  return cluster;
}

Status Cluster::find_subject() {
  const kube::Service* service = TRY(manifests_.service(kSubject));
  const auto slices = manifests_.slices_of(service->meta.key);
  if (service->ports.empty() || service->ports[0].node_port == 0 || service->cluster_ips.size() != 2) {
    return Error(cat("service ", kSubject, " must be dual-stack and have a NodePort"));
  }
  if (slices.empty() || slices[0]->ports.empty()) return Error(cat("service ", kSubject, " must have EndpointSlices"));
  subject_.key = service->meta.key;
  subject_.port = service->ports[0].port;
  subject_.node_port = service->ports[0].node_port;
  subject_.target_port = slices[0]->ports[0].port;
  for (const net::Ip& ip : service->cluster_ips) (ip.is_v4() ? subject_.v4 : subject_.v6) = ip;
  return {};
}

Status Cluster::start_servers() {
  std::set<std::string> listeners;
  for (const kube::EndpointSlice& slice : manifests_.slices()) {
    for (const kube::EndpointPort& port : slice.ports) {
      if (port.protocol == kube::Protocol::Sctp || port.port == 0) continue;  // not in every kernel
      listeners.insert(cat("[::]:", port.port, "/", transport_name(port.protocol)));
    }
  }
  listeners_.assign(listeners.begin(), listeners.end());
  for (const testbed::Place* pod : testbed_->pods()) TRY(start_server(pod->name));
  return {};
}

Status Cluster::start_server(const std::string& pod) { return testbed_->serve(pod, listeners_); }

Status Cluster::stop_server(const std::string& pod) {
  testbed_->stop_server(pod);
  return {};
}

Status Cluster::open_source(bool api) {
  source_ = TRY(api ? api_source(*testbed_, manifests_) : directory_source(*testbed_, manifests_));
  return {};
}

Status Cluster::start_agents(const std::string& dataplane) {
  for (unsigned node = 1; node <= testbed_->nodes(); ++node) {
    agents_.push_back(std::make_unique<testbed::AgentProcess>(*testbed_, node, dataplane, source_->agent_flags()));
    TRY(agents_.back()->launch());
  }
  for (const auto& agent : agents_) TRY(agent->wait_until_settled());
  return {};
}

std::string Cluster::place_at(const net::Ip& ip) const {
  for (const testbed::Place* place : testbed_->places()) {
    if (place->v4 == ip || place->v6 == ip) return place->name;
  }
  return "";
}

std::string Cluster::place_at(const std::string& ip) const {
  const auto parsed = net::Ip::parse(ip);
  return parsed ? place_at(*parsed) : "";
}

testbed::Target Cluster::node_port(unsigned node, net::Family family) const {
  testbed::Target target{.ip = {}, .port = subject_.node_port};
  for (const testbed::Place* place : testbed_->places()) {
    if (place->name == cat("node", node)) target.ip = place->ip(family);
  }
  return target;
}

testbed::Target Cluster::pod_port(const std::string& pod) const {
  testbed::Target target{.ip = {}, .port = subject_.target_port};
  for (const testbed::Place* place : testbed_->places()) {
    if (place->name == pod) target.ip = place->v4;
  }
  return target;
}

std::vector<std::string> Cluster::ready_pods() const {
  std::set<std::string> pods;
  for (const kube::EndpointSlice* slice : manifests_.slices_of(subject_.key)) {
    for (const kube::Endpoint& endpoint : slice->endpoints) {
      if (endpoint.ready.value_or(true)) pods.insert(place_at(endpoint.address));
    }
  }
  return {pods.begin(), pods.end()};
}

Result<std::chrono::steady_clock::time_point> Cluster::set_pods(const std::vector<std::string>& ready,
                                                                const std::vector<std::string>& not_ready) {
  std::vector<PodEndpoint> endpoints;
  const auto add = [&](const std::vector<std::string>& pods, bool is_ready) -> Status {
    for (const std::string& name : pods) {
      const testbed::Place* pod = TRY(testbed_->place(name));
      endpoints.push_back({.v4 = pod->v4, .v6 = pod->v6, .node = cat("node", pod->node), .ready = is_ready});
    }
    return {};
  };
  TRY(add(ready, true));
  TRY(add(not_ready, false));
  const auto changed = TRY(manifests_.set_endpoints(subject_.key, endpoints));
  generations_.clear();
  for (const auto& agent : agents_) generations_.push_back(TRY(agent->status()).generation);
  const auto sent = std::chrono::steady_clock::now();
  for (const ManifestFile* file : changed) TRY(source_->put(*file));
  return sent;
}

// Both the store and the kernel: every frontend has so many endpoints, and nothing waits to be applied.
Result<bool> Cluster::applied_at(unsigned node, std::size_t ready) {
  const std::string socket = agent(node).status_socket();
  const std::string text = TRY(testbed::http_get(socket, "/v1/services?namespace=" + subject_.key.ns));
  const Value services = TRY(base::parse_json(text));
  if (services.as_array() == nullptr) return Error("/v1/services gave no list");
  for (const Value& service : *services.as_array()) {
    if (!is(service["name"], subject_.key.name)) continue;
    const Value::Array* frontends = service["frontends"].as_array();
    if (frontends == nullptr) return Error("/v1/services: no frontends");
    for (const Value& frontend : *frontends) {
      const std::int64_t* count = frontend["endpoints"].as_int();
      if (count == nullptr || static_cast<std::size_t>(*count) != ready) return false;
    }
  }
  const testbed::AgentStatus status = TRY(agent(node).status());
  return status.settled() && (generations_.empty() || status.generation > generations_[node - 1]);
}

Status Cluster::wait_until_applied() {
  const std::size_t ready = ready_pods().size();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (unsigned node = 1; node <= nodes(); ++node) {
    while (!TRY_CONTEXT(applied_at(node, ready), cat("node", node))) {
      if (std::chrono::steady_clock::now() > deadline) {
        return Error(cat("the agent of node", node, " has not applied the change after 10 s:\n", agent(node).log()));
      }
      TRY(Interrupt::pause(std::chrono::milliseconds(1)));
    }
  }
  return {};
}

}  // namespace fairlead::demo
