// Health: kube-proxy's health rules (Kubernetes 1.36 pkg/proxy/healthcheck, behind /healthz and /livez).
//
// Unhealthy means that something is waiting to be applied for longer than the timeout; idle is healthy. A failure on
// one service alone does not count: taking the whole node out of load balancing would cost the other services.
#pragma once

#include <optional>
#include <string>

#include "agent/http_server.h"
#include "base/clock.h"
#include "kube/objects.h"

namespace fairlead::agent {

class Health {
 public:
  explicit Health(const base::Clock& clock, base::Duration timeout = std::chrono::seconds(60));

  void queued();                          // something is to be applied
  void updated();                         // nothing is waiting any more
  void set_node(const kube::Node* node);  // nullptr: not known

  bool healthy() const;
  // The node may take new connections from outside: known, not being deleted, not about to be scaled away.
  bool node_eligible() const { return node_eligible_; }

  HttpResponse healthz() const;  // healthy and eligible
  HttpResponse livez() const;    // healthy

 private:
  enum class Scope { Node, ProcessOnly };
  HttpResponse response(Scope scope) const;

  const base::Clock& clock_;
  const base::Duration timeout_;
  std::optional<base::Instant> pending_since_;
  base::WallTime last_updated_;
  bool node_eligible_ = false;
};

}  // namespace fairlead::agent
