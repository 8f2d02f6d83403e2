#include "proxy/model/service_state.h"

#include <ostream>

namespace fairlead::proxy::model {
namespace {

void print_pool(std::ostream& out, std::string_view name, const std::vector<Endpoint>& endpoints) {
  out << ' ' << name << "=[";
  for (std::size_t i = 0; i < endpoints.size(); ++i) out << (i == 0 ? "" : " ") << endpoints[i];
  out << ']';
}

}  // namespace

std::string_view to_string(FrontendKind kind) {
  switch (kind) {
    case FrontendKind::ClusterIp: return "ClusterIP";
    case FrontendKind::NodePort: return "NodePort";
    case FrontendKind::ExternalIp: return "ExternalIP";
    case FrontendKind::LoadBalancerIp: return "LoadBalancerIP";
  }
  return "?";
}

std::string_view to_string(Masquerade masquerade) {
  switch (masquerade) {
    case Masquerade::Never: return "never";
    case Masquerade::Always: return "always";
    case Masquerade::OffCluster: return "off-cluster";
  }
  return "?";
}

std::ostream& operator<<(std::ostream& out, const Endpoint& endpoint) {
  return out << net::host_port(endpoint.address, endpoint.port) << (endpoint.local ? "(local)" : "");
}

std::ostream& operator<<(std::ostream& out, const Frontend& frontend) {
  out << to_string(frontend.kind) << ' ';
  if (frontend.kind == FrontendKind::NodePort) {
    out << frontend.port;
  } else {
    out << net::host_port(frontend.address, frontend.port);
  }
  out << (frontend.pool == Pool::Local ? " local" : "") << (frontend.when_empty == WhenEmpty::Drop ? " drop" : "");
  out << (frontend.short_circuit ? " short-circuit" : "") << (frontend.restricted ? " restricted" : "");
  if (frontend.masquerade != Masquerade::Never) out << " masquerade " << to_string(frontend.masquerade);
  return out;
}

std::ostream& operator<<(std::ostream& out, const PortState& port) {
  out << "{\"" << port.name << "\" " << to_string(port.protocol) << ' ' << net::to_string(port.family);
  for (const Frontend& frontend : port.frontends) out << ", " << frontend;
  out << ':';
  print_pool(out, "cluster", port.cluster_endpoints);
  if (!port.local_endpoints.empty()) print_pool(out, "local", port.local_endpoints);
  if (port.serving_endpoints != port.cluster_endpoints) print_pool(out, "serving", port.serving_endpoints);
  if (port.affinity_seconds != 0) out << " affinity " << port.affinity_seconds << 's';
  if (!port.allowed_sources.empty()) out << " allowed";
  for (const net::Prefix& prefix : port.allowed_sources) out << ' ' << prefix;
  return out << '}';
}

std::ostream& operator<<(std::ostream& out, const ServiceState& state) {
  out << state.key << ' ' << to_string(state.type) << " endpoints " << state.counts.local << '/' << state.counts.ready
      << '/' << state.counts.total;
  if (state.health_check_node_port != 0) out << " health check on " << state.health_check_node_port;
  for (const PortState& port : state.ports) out << "\n  " << port;
  return out;
}

}  // namespace fairlead::proxy::model
