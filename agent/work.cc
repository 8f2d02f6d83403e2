#include "agent/work.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace fairlead::agent {

void merge(Origin& earlier, Origin&& later) {
  earlier.generation = std::max(earlier.generation, later.generation);
  earlier.service_events += later.service_events;
  earlier.slice_events += later.slice_events;
  std::move(later.triggers.begin(), later.triggers.end(), std::back_inserter(earlier.triggers));
}

Work work_from(Changes changes, Origin origin) {
  Work work;
  work.origin = std::move(origin);
  for (ServiceState& state : changes.upserted) {
    Key key = state.key;
    work.changed.insert_or_assign(std::move(key), std::move(state));
  }
  for (Key& key : changes.deleted) work.changed.insert_or_assign(std::move(key), std::nullopt);
  return work;
}

void merge(Work& earlier, Work&& later) {
  merge(earlier.origin, std::move(later.origin));
  if (later.all) {
    earlier.all = std::move(later.all);
    earlier.changed = std::move(later.changed);
    return;
  }
  for (auto& [key, state] : later.changed) earlier.changed.insert_or_assign(key, std::move(state));
}

Everything folded(Work&& work) {
  Everything all = std::move(*work.all);
  if (work.changed.empty()) return all;
  std::erase_if(all.services, [&](const ServiceState& state) { return work.changed.contains(state.key); });
  for (auto& [key, state] : work.changed) {
    if (state) all.services.push_back(std::move(*state));
  }
  return all;
}

Key subject_of(const proxy::dataplane::Failure& failure) {
  return failure.service.name.empty() ? Key{{}, failure.object} : failure.service;
}

}  // namespace fairlead::agent
