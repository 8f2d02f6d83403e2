#include "agent/status.h"

#include <unistd.h>

#include <chrono>
#include <utility>

#include "agent/process_stats.h"
#include "agent/time_text.h"
#include "base/json.h"

namespace fairlead::agent {
namespace {

using base::Value;

constexpr std::size_t kFailuresShown = 100;
constexpr std::size_t kServicesPerPiece = 200;

std::int64_t microseconds(base::Duration duration) {
  return std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
}

std::int64_t seconds_since(base::WallTime time, const base::Clock& clock) {
  return std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(clock.wall() - time).count());
}

Value probes_value(const std::vector<proxy::dataplane::NamedProbe>& probes) {
  Value::Array list;
  for (const auto& each : probes) {
    Value probe;
    probe.set("dataplane", Value(each.dataplane));
    probe.set("usable", Value(each.probe.usable));
    probe.set("reason", Value(each.probe.reason));
    list.push_back(std::move(probe));
  }
  return Value(std::move(list));
}

Value source_value(const SourceStatus& source) {
  Value value;
  value.set("kind", Value(source.kind));
  value.set("where", Value(source.where));
  value.set("connected", Value(source.connected));
  Value::Array errors;
  for (const std::string& error : source.errors) errors.emplace_back(error);
  value.set("errors", Value(std::move(errors)));
  return value;
}

Value failures_value(const Ledger& ledger, const base::Clock& clock) {
  Value::Array list;
  for (const auto& [key, failing] : ledger.failing()) {
    if (list.size() == kFailuresShown) break;
    Value failure;
    failure.set("object", Value(key.to_string()));
    failure.set("error", Value(failing.error));
    failure.set("attempts", Value(std::uint64_t{failing.attempts}));
    failure.set("age_seconds", Value(seconds_since(failing.since, clock)));
    list.push_back(std::move(failure));
  }
  return Value(std::move(list));
}

void set_progress(Value& status, const Ledger::Totals& totals) {
  status.set("generation", Value(totals.generation));
  status.set("applied", Value(totals.applied));
  status.set("pending", Value(totals.generation - totals.applied));
  status.set("last_applied", totals.last_applied ? Value(format_rfc3339(*totals.last_applied)) : Value());
  status.set("last_apply_us", Value(microseconds(totals.last_took)));
  Value writes;
  writes.set("total", Value(totals.kernel_writes));
  writes.set("first_sync", Value(totals.first_sync_writes));
  writes.set("last", Value(totals.last_writes));
  status.set("kernel_writes", std::move(writes));
  Value first_sync;
  if (totals.first_synced) {
    first_sync.set("apply_us", Value(microseconds(totals.first_sync_took)));
    first_sync.set("since_start_ms", Value(microseconds(totals.first_sync_after) / 1000));
  }
  status.set("first_sync", std::move(first_sync));
}

Value prefixes_value(const std::vector<net::Prefix>& prefixes) {
  Value::Array list;
  for (const net::Prefix& prefix : prefixes) list.emplace_back(prefix.to_string());
  return Value(std::move(list));
}

Value node_state_value(const NodeState& node) {
  Value value;
  value.set("pods", prefixes_value(node.pods.sources));
  value.set("pod_interface", Value(node.pods.interface + (node.pods.interface_is_prefix ? "*" : "")));
  value.set("node_port_addresses", prefixes_value(node.node_port_addresses));
  value.set("service_cidrs", prefixes_value(node.service_cidrs));
  return value;
}

Value failing_ports_value(const std::map<Key, ServiceHealth::Port>& ports) {
  Value::Array list;
  for (const auto& [key, port] : ports) {
    if (port.error.empty()) continue;
    if (list.size() == kFailuresShown) break;
    Value failing;
    failing.set("service", Value(key.to_string()));
    failing.set("port", Value(std::int64_t{port.number}));
    failing.set("error", Value(port.error));
    list.push_back(std::move(failing));
  }
  return Value(std::move(list));
}

Value frontends_value(const ServiceState& state) {
  Value::Array list;
  for (const auto& port : state.ports) {
    for (const auto& frontend : port.frontends) {
      const bool any_address = frontend.kind == proxy::model::FrontendKind::NodePort;
      Value value;
      value.set("kind", Value(proxy::model::to_string(frontend.kind)));
      value.set("family", Value(net::to_string(port.family)));
      value.set("address", any_address ? Value("") : Value(frontend.address.to_string()));
      value.set("port", Value(std::int64_t{frontend.port}));
      value.set("protocol", Value(kube::to_string(port.protocol)));
      value.set("port_name", Value(port.name));
      value.set("endpoints", Value(static_cast<std::uint64_t>(port.pool(frontend.pool).size())));
      list.push_back(std::move(value));
    }
  }
  return Value(std::move(list));
}

Value service_value(const ServiceState& state, const Ledger& ledger, const base::Clock& clock) {
  Value value;
  value.set("namespace", Value(state.key.ns));
  value.set("name", Value(state.key.name));
  value.set("type", Value(kube::to_string(state.type)));
  value.set("frontends", frontends_value(state));
  Value endpoints;
  endpoints.set("local", Value(std::uint64_t{state.counts.local}));
  endpoints.set("ready", Value(std::uint64_t{state.counts.ready}));
  endpoints.set("total", Value(std::uint64_t{state.counts.total}));
  value.set("endpoints", std::move(endpoints));
  const base::WallTime changed = ledger.last_change(state.key);
  value.set("last_change", Value(format_rfc3339(changed)));
  value.set("age_seconds", Value(seconds_since(changed, clock)));
  const auto failing = ledger.failing().find(state.key);
  value.set("last_error", Value(failing == ledger.failing().end() ? std::string() : failing->second.error));
  return value;
}

}  // namespace

std::string status_json(const Identity& identity, const Controller& controller, const SourceStatus& source,
                        const std::map<Key, ServiceHealth::Port>& health_ports, const base::Clock& clock) {
  const Ledger& ledger = controller.ledger();
  Value status;
  status.set("version", Value(identity.version));
  status.set("instance", Value(identity.instance));
  status.set("node", Value(identity.node));
  status.set("pid", Value(std::int64_t{::getpid()}));
  status.set("started", Value(format_rfc3339(ledger.started())));
  status.set("uptime_seconds", Value(seconds_since(ledger.started(), clock)));
  status.set("dataplane", Value(identity.dataplane));
  status.set("probes", probes_value(identity.probes));
  status.set("source", source_value(source));
  status.set("synced", Value(ledger.synced()));
  status.set("services", Value(static_cast<std::uint64_t>(controller.store().services().size())));
  status.set("endpoints", Value(controller.store().endpoint_count()));
  set_progress(status, ledger.totals());
  status.set("failing", Value(static_cast<std::uint64_t>(ledger.failing().size())));
  status.set("failures", failures_value(ledger, clock));
  status.set("error", Value(ledger.general_error()));
  status.set("rss_bytes", Value(process_stats().resident_bytes));
  status.set("metrics_address", Value(identity.metrics_address));
  status.set("healthz_address", Value(identity.healthz_address));
  status.set("node_state", node_state_value(proxy::model::node_state(controller.node_view())));
  status.set("health_check_ports", Value(static_cast<std::uint64_t>(health_ports.size())));
  status.set("health_check_ports_failing", failing_ports_value(health_ports));
  return base::to_json(status);
}

bool ServicesJson::append_piece(std::string& out) {
  const kube::Store& store = controller_.store();
  const auto& services = store.services();
  auto it = last_ ? services.upper_bound(*last_) : services.begin();
  if (!last_) out += '[';
  for (std::size_t seen = 0; it != services.end() && seen < kServicesPerPiece; ++it, ++seen) {
    last_ = it->first;
    if (!only_namespace_.empty() && it->first.ns != only_namespace_) continue;
    const ServiceState state = proxy::model::resolve(it->second, store.slices_of(it->first), controller_.node_view());
    if (std::exchange(any_, true)) out += ",\n";
    out += base::to_json(service_value(state, controller_.ledger(), clock_));
  }
  if (it != services.end()) {
    out += ' ';  // a piece is never empty, even if nothing in it is of the namespace
    return true;
  }
  out += "]\n";
  return false;
}

}  // namespace fairlead::agent
