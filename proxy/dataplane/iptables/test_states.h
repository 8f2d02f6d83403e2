// ServiceStates in one line each, for the tests of this folder.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "proxy/model/service_state.h"

namespace fairlead::proxy::dataplane::iptables::test {

inline net::Ip ip(std::string_view text) { return net::Ip::parse(text).value(); }
inline net::Prefix prefix(std::string_view text) { return net::Prefix::parse(text).value(); }

inline model::Frontend cluster_ip(std::string_view address, std::uint16_t port,
                                  model::Masquerade masquerade = model::Masquerade::Never) {
  return {.kind = model::FrontendKind::ClusterIp, .address = ip(address), .port = port, .masquerade = masquerade};
}
inline model::Frontend node_port(std::uint16_t port) {
  return {.kind = model::FrontendKind::NodePort, .address = {}, .port = port, .masquerade = model::Masquerade::Always};
}
inline model::Frontend load_balancer(std::string_view address, std::uint16_t port) {
  return {.kind = model::FrontendKind::LoadBalancerIp,
          .address = ip(address),
          .port = port,
          .masquerade = model::Masquerade::Always};
}
// externalTrafficPolicy Local.
inline model::Frontend local(model::Frontend frontend) {
  frontend.pool = model::Pool::Local;
  frontend.when_empty = model::WhenEmpty::Drop;
  frontend.masquerade = model::Masquerade::Never;
  frontend.short_circuit = true;
  return frontend;
}
inline model::Frontend restricted(model::Frontend frontend) {
  frontend.restricted = true;
  return frontend;
}

inline model::Endpoint endpoint(std::string_view address, std::uint16_t port, bool is_local = false) {
  return {.address = ip(address), .port = port, .local = is_local};
}
// 10.0.0.1 to 10.0.0.n, all at port 8080.
inline std::vector<model::Endpoint> endpoints(int n) {
  std::vector<model::Endpoint> all;
  for (int i = 1; i <= n; ++i) {
    all.push_back(
        {.address = net::Ip::v4(10, 0, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)), .port = 8080});
  }
  return all;
}

inline model::ServiceState service(const std::string& name, std::vector<model::Frontend> frontends,
                                   std::vector<model::Endpoint> cluster,
                                   model::Protocol protocol = model::Protocol::Tcp) {
  model::PortState port;
  port.protocol = protocol;
  for (const model::Frontend& f : frontends) {
    if (f.kind != model::FrontendKind::NodePort) port.family = f.address.family();
  }
  port.frontends = std::move(frontends);
  std::sort(cluster.begin(), cluster.end());
  std::copy_if(cluster.begin(), cluster.end(), std::back_inserter(port.local_endpoints),
               [](const model::Endpoint& e) { return e.local; });
  port.cluster_endpoints = std::move(cluster);
  model::ServiceState state;
  state.key = {"default", name};
  state.ports.push_back(std::move(port));
  return state;
}

}  // namespace fairlead::proxy::dataplane::iptables::test
