// Builders of ServiceState and checks of Report for tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

#include "proxy/dataplane/dataplane.h"

namespace fairlead::proxy::dataplane::ebpf::testing {

// service("web").cluster_ip("10.96.0.1", 80).endpoint("10.1.0.11", 8080): one port, one family.
class ServiceBuilder {
 public:
  explicit ServiceBuilder(std::string name) {
    state_.key = {"ns", std::move(name)};
    state_.ports.emplace_back();
  }
  ServiceBuilder& udp() { return protocol(model::Protocol::Udp); }
  ServiceBuilder& protocol(model::Protocol protocol) {
    port().protocol = protocol;
    return *this;
  }
  ServiceBuilder& v6() {
    port().family = net::Family::V6;
    return *this;
  }
  ServiceBuilder& cluster_ip(const std::string& ip, std::uint16_t number) {
    return frontend({.kind = model::FrontendKind::ClusterIp, .address = *net::Ip::parse(ip), .port = number});
  }
  ServiceBuilder& external_ip(const std::string& ip, std::uint16_t number) {
    return frontend({.kind = model::FrontendKind::ExternalIp, .address = *net::Ip::parse(ip), .port = number});
  }
  ServiceBuilder& node_port(std::uint16_t number) {
    return frontend({.kind = model::FrontendKind::NodePort, .address = {}, .port = number});
  }
  // The frontend named last.
  ServiceBuilder& masquerade() {
    port().frontends.back().masquerade = model::Masquerade::Always;
    return *this;
  }
  ServiceBuilder& drop_when_empty() {
    port().frontends.back().when_empty = model::WhenEmpty::Drop;
    return *this;
  }
  ServiceBuilder& local_pool() {
    port().frontends.back().pool = model::Pool::Local;
    return *this;
  }
  ServiceBuilder& masquerade_off_cluster() {
    port().frontends.back().masquerade = model::Masquerade::OffCluster;
    return *this;
  }
  // externalTrafficPolicy Local of the frontend named last.
  ServiceBuilder& short_circuit() {
    port().frontends.back().short_circuit = true;
    return local_pool().drop_when_empty();
  }
  // The frontend named last, for these alone.
  ServiceBuilder& only_for(const std::vector<std::string>& ranges) {
    port().frontends.back().restricted = true;
    port().allowed_sources.clear();
    for (const std::string& range : ranges) port().allowed_sources.push_back(*net::Prefix::parse(range));
    std::sort(port().allowed_sources.begin(), port().allowed_sources.end());
    return *this;
  }
  ServiceBuilder& affinity(std::uint32_t seconds) {
    port().affinity_seconds = seconds;
    return *this;
  }
  // Serves what it has and takes nothing new.
  ServiceBuilder& draining(const std::string& ip, std::uint16_t number) {
    port().serving_endpoints.push_back({*net::Ip::parse(ip), number, false});
    std::sort(port().serving_endpoints.begin(), port().serving_endpoints.end());
    return *this;
  }
  ServiceBuilder& endpoint(const std::string& ip, std::uint16_t number, bool local = false) {
    auto& all = port().cluster_endpoints;
    all.push_back({*net::Ip::parse(ip), number, local});
    std::sort(all.begin(), all.end());
    if (local) port().local_endpoints.push_back(all.back());
    return *this;
  }
  operator model::ServiceState() const { return state_; }  // NOLINT(google-explicit-constructor)

 private:
  model::PortState& port() { return state_.ports.back(); }
  ServiceBuilder& frontend(const model::Frontend& f) {
    if (!f.address.is_unspecified()) port().family = f.address.family();
    port().frontends.push_back(f);
    return *this;
  }
  model::ServiceState state_;
};

inline ServiceBuilder service(std::string name) { return ServiceBuilder(std::move(name)); }

inline void expect_ok(const Report& report) {
  for (const Failure& failure : report.failures) {
    ADD_FAILURE() << failure.service.to_string() << ": " << failure.error.message();
  }
}

}  // namespace fairlead::proxy::dataplane::ebpf::testing
