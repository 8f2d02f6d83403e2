#include "proxy/conntrack/view.h"

#include <utility>

namespace fairlead::proxy::conntrack {
namespace {

template <typename Claims>
Wanted wanted(const std::map<Place, Claims>& claims, const Place& place) {
  const auto it = claims.find(place);
  if (it == claims.end()) return {.gone = true, .serving = {}};
  return {.gone = false, .serving = it->second.begin()->second};
}

}  // namespace

View::Frontends View::frontends_of(const model::ServiceState& state) const {
  Frontends out;
  for (const model::PortState& port : state.ports) {
    if (port.protocol != model::Protocol::Udp && !half_open_) continue;
    std::vector<Target> serving;
    serving.reserve(port.serving_endpoints.size());
    for (const model::Endpoint& endpoint : port.serving_endpoints) serving.push_back({endpoint.address, endpoint.port});
    for (const model::Frontend& frontend : port.frontends) {
      out.emplace(Place{port.family, port.protocol, frontend.address, frontend.port}, serving);
    }
  }
  return out;
}

Review View::nothing() const {
  Review review;
  review.node_ports = node_ports_;
  return review;
}

void View::put(const model::Key& key, Frontends state, bool failed, Review& review) {
  const bool again = unsure_.erase(key) > 0;
  const auto known = places_.find(key);
  if (known == places_.end() && state.empty()) return;
  if (failed) unsure_.insert(key);

  std::map<Place, Wanted> before;
  if (known != places_.end()) {
    for (const Place& place : known->second) before.emplace(place, wanted(claims_, place));
  }
  for (const auto& [place, serving] : state) before.emplace(place, wanted(claims_, place));

  for (const auto& [place, was] : before) {
    const auto now = state.find(place);
    if (now != state.end()) {
      claims_[place].insert_or_assign(key, now->second);
    } else if (const auto claims = claims_.find(place); claims != claims_.end()) {
      claims->second.erase(key);
      if (claims->second.empty()) claims_.erase(claims);
    }
    if (Wanted is = wanted(claims_, place); again || is != was) review.frontends.insert_or_assign(place, std::move(is));
  }
  if (state.empty()) {
    places_.erase(key);
    return;
  }
  std::vector<Place>& places = places_[key];
  places.clear();
  for (const auto& [place, serving] : state) places.push_back(place);
}

Review View::apply(const model::Changes& changes, const std::set<model::Key>& failed) {
  Review review = nothing();
  for (const model::ServiceState& state : changes.upserted) {
    put(state.key, frontends_of(state), failed.contains(state.key), review);
  }
  for (const model::Key& key : changes.deleted) put(key, {}, failed.contains(key), review);
  return review;
}

Review View::replace(const model::NodeState& node, const std::vector<model::ServiceState>& services,
                     const std::set<model::Key>& failed) {
  node_ports_ = {node.node_port_addresses, node.localhost_node_ports};
  Review review = nothing();
  std::set<model::Key> gone;
  for (const auto& [key, places] : places_) gone.insert(key);
  for (const model::ServiceState& state : services) {
    gone.erase(state.key);
    put(state.key, frontends_of(state), failed.contains(state.key), review);
  }
  for (const model::Key& key : gone) put(key, {}, failed.contains(key), review);
  merge(review, everything());
  return review;
}

Review View::everything() const {
  Review review = nothing();
  for (const auto& [place, claims] : claims_) review.frontends.emplace(place, wanted(claims_, place));
  return review;
}

}  // namespace fairlead::proxy::conntrack
