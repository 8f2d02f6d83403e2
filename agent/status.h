// status: the agent's state as JSON, for fairleadctl and for tests.
//
// GET /v1/status: version, instance, node, pid, started, uptime_seconds, dataplane, probes[], source{}, synced,
//   services, endpoints, generation (batches of changes seen), applied (the newest of them in the kernel),
//   pending, last_applied, last_apply_us, kernel_writes{total, first_sync, last}, first_sync{apply_us, since_start_ms},
//   failing (count), failures[] (at most 100), error, rss_bytes, metrics_address, healthz_address,
//   node_state{pods[], pod_interface, node_port_addresses[], service_cidrs[]},
//   health_check_ports (count), health_check_ports_failing[] (at most 100).
// GET /v1/services[?namespace=NS]: a list of services with frontends, endpoint counts, age and last error.
// Everything about a change is in the kernel when applied == generation, failing == 0 and error is empty.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/controller.h"
#include "agent/http_server.h"
#include "agent/service_health.h"
#include "base/clock.h"
#include "proxy/dataplane/select.h"

namespace fairlead::agent {

struct SourceStatus {
  std::string kind;  // "api", "manifests"
  std::string where;
  bool connected = false;
  std::vector<std::string> errors;
};

struct Identity {
  std::string version;
  std::string instance;
  std::string node;
  std::string dataplane;  // the one in use
  std::vector<proxy::dataplane::NamedProbe> probes;
  std::string metrics_address;  // empty: off
  std::string healthz_address;
};

std::string status_json(const Identity& identity, const Controller& controller, const SourceStatus& source,
                        const std::map<Key, ServiceHealth::Port>& health_ports, const base::Clock& clock);

// GET /v1/services in pieces of some hundred services: 50,000 of them at once would stop the loop for half a second and
// cost more memory than the agent itself. What changes between two pieces may show in either state.
class ServicesJson {
 public:
  // `only_namespace` empty: every service.
  ServicesJson(const Controller& controller, std::string only_namespace, const base::Clock& clock)
      : controller_(controller), only_namespace_(std::move(only_namespace)), clock_(clock) {}
  bool append_piece(std::string& out);  // false: that was the last

 private:
  const Controller& controller_;
  std::string only_namespace_;
  const base::Clock& clock_;
  std::optional<Key> last_;
  bool any_ = false;
};

}  // namespace fairlead::agent
