#include "tests/apiserver/cluster.h"

#include <utility>

namespace fairlead::tests::apiserver {

Result<ObjectPtr> Cluster::upsert(Resource resource, base::Value value) {
  ObjectPtr object = TRY(ApiObject::create(resource, std::move(value), version_ + 1));
  ObjectPtr& slot = objects_[static_cast<std::size_t>(resource)][object->key()];
  if (slot && slot->same_content(*object)) return slot;
  ++version_;
  ObjectPtr before = std::exchange(slot, object);
  record({.version = version_, .resource = resource, .before = std::move(before), .after = object});
  return object;
}

ObjectPtr Cluster::erase(Resource resource, const kube::Key& key) {
  auto& objects = objects_[static_cast<std::size_t>(resource)];
  const auto it = objects.find(key);
  if (it == objects.end()) return nullptr;
  ObjectPtr before = std::move(it->second);
  objects.erase(it);
  ++version_;
  record({.version = version_, .resource = resource, .before = before, .after = nullptr});
  return before;
}

ObjectPtr Cluster::find(Resource resource, const kube::Key& key) const {
  const auto it = objects(resource).find(key);
  return it == objects(resource).end() ? nullptr : it->second;
}

const std::map<kube::Key, ObjectPtr>& Cluster::objects(Resource resource) const {
  return objects_[static_cast<std::size_t>(resource)];
}

void Cluster::compact() {
  ++version_;
  compacted_ = version_;
  history_.clear();
}

void Cluster::restart(std::uint64_t first_version) {
  version_ = first_version;
  for (auto& objects : objects_) {
    for (auto& [key, object] : objects) object = object->at_version(++version_);
  }
  compacted_ = version_;
  history_.clear();
}

void Cluster::record(const ClusterEvent& event) {
  history_.push_back(event);
  while (history_.size() > history_limit_) {
    compacted_ = history_.front().version;
    history_.pop_front();
  }
  if (on_event) on_event(event);
}

}  // namespace fairlead::tests::apiserver
