// Cluster: the objects, the one global resourceVersion, and the window of past changes that a watch may start from.
//
// Pure state on one thread; the server feeds its watches from on_event. Every change costs the object's size.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>

#include "tests/apiserver/object.h"

namespace fairlead::tests::apiserver {

struct ClusterEvent {
  std::uint64_t version = 0;
  Resource resource = Resource::Services;
  ObjectPtr before;  // null: created
  ObjectPtr after;   // null: deleted
};

class Cluster {
 public:
  Cluster(std::uint64_t first_version, std::size_t history_limit)
      : version_(first_version), compacted_(first_version), history_limit_(history_limit) {}

  // Creates or replaces. The same content again changes nothing and yields the stored object.
  Result<ObjectPtr> upsert(Resource resource, base::Value value);
  // The deleted object, or null if there was none.
  ObjectPtr erase(Resource resource, const kube::Key& key);
  ObjectPtr find(Resource resource, const kube::Key& key) const;
  const std::map<kube::Key, ObjectPtr>& objects(Resource resource) const;

  std::uint64_t version() const { return version_; }
  // Changes up to and including this one are forgotten: a watch from below it is Expired.
  std::uint64_t compacted() const { return compacted_; }
  const std::deque<ClusterEvent>& history() const { return history_; }

  // Moves the resourceVersion on without touching an object of the four kinds (as a write of any other kind does).
  void advance() { ++version_; }
  // Forgets all past changes, after moving the resourceVersion on: what any client has seen is now too old.
  void compact();
  // As restored from a backup: same objects, other versions, no history.
  void restart(std::uint64_t first_version);

  std::function<void(const ClusterEvent&)> on_event;

 private:
  void record(const ClusterEvent& event);

  std::uint64_t version_;
  std::uint64_t compacted_;
  std::size_t history_limit_;
  std::array<std::map<kube::Key, ObjectPtr>, kResources.size()> objects_;
  std::deque<ClusterEvent> history_;
};

}  // namespace fairlead::tests::apiserver
