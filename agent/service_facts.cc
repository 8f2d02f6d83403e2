#include "agent/service_facts.h"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

namespace fairlead::agent {
namespace {

using proxy::model::Frontend;
using proxy::model::FrontendKind;
using proxy::model::Pool;
using proxy::model::PortState;
using proxy::model::WhenEmpty;

// `operation` is std::plus or std::minus.
template <typename Operation>
void combine(WithoutLocal& sum, const WithoutLocal& other, Operation operation) {
  for (std::size_t family = 0; family < sum.internal.size(); ++family) {
    sum.internal[family] = operation(sum.internal[family], other.internal[family]);
    sum.external[family] = operation(sum.external[family], other.external[family]);
  }
}

// The model says Drop exactly when nothing is local and something is elsewhere.
void count_without_local(WithoutLocal& out, const PortState& port) {
  if (!port.local_endpoints.empty()) return;
  const auto any = [&](bool internal) {
    return std::any_of(port.frontends.begin(), port.frontends.end(), [&](const Frontend& frontend) {
      return (frontend.kind == FrontendKind::ClusterIp) == internal && frontend.pool == Pool::Local &&
             frontend.when_empty == WhenEmpty::Drop;
    });
  };
  const auto family = static_cast<std::size_t>(port.family);
  if (any(true)) ++out.internal[family];
  if (any(false)) ++out.external[family];
}

}  // namespace

ServiceFacts facts_of(const ServiceState& state) {
  ServiceFacts facts;
  facts.health_check_node_port = state.health_check_node_port;
  if (state.health_check_node_port != 0) facts.local_endpoints = state.counts.local;
  for (const PortState& port : state.ports) count_without_local(facts.without_local, port);
  return facts;
}

void FactBook::sent(const Work& work) {
  const std::uint64_t generation = work.origin.generation;
  if (work.all) {
    waiting_addresses_ = {work.all->node.node_port_addresses, generation};
    std::set<Key> gone;
    for (const auto& [key, facts] : applied_) gone.insert(key);
    for (const auto& [key, waiting] : waiting_) gone.insert(key);
    for (const ServiceState& state : work.all->services) {
      gone.erase(state.key);
      expect(state.key, facts_of(state), generation);
    }
    for (const Key& key : gone) expect(key, {}, generation);
  }
  for (const auto& [key, state] : work.changed) expect(key, state ? facts_of(*state) : ServiceFacts(), generation);
}

void FactBook::expect(const Key& service, const ServiceFacts& facts, std::uint64_t generation) {
  const auto it = waiting_.find(service);
  if (it == waiting_.end() && facts == applied(service)) return;
  waiting_.insert_or_assign(service, Waiting<ServiceFacts>{facts, generation});
}

FactBook::Applied FactBook::done(const Ledger& ledger) {
  Applied out;
  if (!ledger.synced()) return out;
  const std::uint64_t generation = ledger.totals().applied;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (it->second.generation > generation || ledger.failing().contains(it->first)) {
      ++it;
      continue;
    }
    if (applied(it->first) != it->second.value) {
      out.services.push_back(it->first);
      put(it->first, it->second.value);
    }
    it = waiting_.erase(it);
  }
  if (!waiting_addresses_.has_value()) return out;
  auto& [addresses, due] = *waiting_addresses_;
  if (due > generation) return out;
  out.addresses = !(addresses_ == addresses);
  addresses_ = std::move(addresses);
  waiting_addresses_.reset();
  return out;
}

ServiceFacts FactBook::applied(const Key& service) const {
  const auto it = applied_.find(service);
  return it == applied_.end() ? ServiceFacts() : it->second;
}

void FactBook::put(const Key& service, const ServiceFacts& facts) {
  combine(without_local_, applied(service).without_local, std::minus<>());
  combine(without_local_, facts.without_local, std::plus<>());
  if (facts == ServiceFacts()) {
    applied_.erase(service);
  } else {
    applied_.insert_or_assign(service, facts);
  }
}

}  // namespace fairlead::agent
