// status: the agent's state as JSON, for fairleadctl and for tests.
//
// GET /v1/status: version, instance, node, pid, started, uptime_seconds, dataplane, probes[], source{}, synced,
//   services, endpoints, generation (batches of changes seen), applied (the newest of them in the kernel),
//   pending, last_applied, last_apply_us, kernel_writes{total, first_sync, last}, first_sync{apply_us, since_start_ms},
//   failing (count), failures[] (at most 100), error, rss_bytes, metrics_address, healthz_address.
// GET /v1/services[?namespace=NS]: a list of services with frontends, endpoint counts, age and last error.
// Everything about a change is in the kernel when applied == generation, failing == 0 and error is empty.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/controller.h"
#include "agent/http_server.h"
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
                        const base::Clock& clock);

// `only_namespace` empty: every service.
std::string services_json(const Controller& controller, std::string_view only_namespace, const base::Clock& clock);

}  // namespace fairlead::agent
