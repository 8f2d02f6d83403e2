#include "agent/health.h"

#include <algorithm>

#include "agent/time_text.h"
#include "base/json.h"

namespace fairlead::agent {
namespace {

constexpr std::string_view kScaleDownTaint = "ToBeDeletedByClusterAutoscaler";

}  // namespace

Health::Health(const base::Clock& clock, base::Duration timeout)
    : clock_(clock), timeout_(timeout), last_updated_(clock.wall()) {}

void Health::queued() {
  if (!pending_since_) pending_since_ = clock_.now();
}

void Health::updated() {
  pending_since_.reset();
  last_updated_ = clock_.wall();
}

void Health::set_node(const kube::Node* node) {
  node_eligible_ = node != nullptr && !node->deleting &&
                   std::none_of(node->taints.begin(), node->taints.end(),
                                [](const kube::Taint& taint) { return taint.key == kScaleDownTaint; });
}

bool Health::healthy() const { return !pending_since_ || clock_.now() - *pending_since_ < timeout_; }

HttpResponse Health::healthz() const { return response(Scope::Node); }
HttpResponse Health::livez() const { return response(Scope::ProcessOnly); }

HttpResponse Health::response(Scope scope) const {
  const bool good = healthy() && (scope == Scope::ProcessOnly || node_eligible_);
  const std::string now = format_rfc3339(clock_.wall());
  const std::string last = format_rfc3339(last_updated_);
  base::Value body;
  body.set("lastUpdated", base::Value(good ? now : last));  // upstream reports "now" while all is well
  body.set("currentTime", base::Value(now));
  if (scope == Scope::Node) body.set("nodeEligible", base::Value(node_eligible_));
  body.set("healthy", base::Value(healthy()));
  base::Value status;
  for (const char* family : {"IPv4", "IPv6"}) {  // one worker applies both
    base::Value each;
    each.set("lastUpdated", base::Value(last));
    each.set("healthy", base::Value(healthy()));
    status.set(family, std::move(each));
  }
  body.set("status", std::move(status));
  return {.code = good ? 200 : 503, .content_type = "application/json", .body = base::to_json(body)};
}

}  // namespace fairlead::agent
