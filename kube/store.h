// Store: the node's view of the cluster, indexed by service, and the set of services that changed since last asked.
//
// One thread. An upsert costs the object's size and a map step; no-op updates (equal but for resourceVersion) leave
// nothing dirty. A slice that changes its owner marks both services (kube-proxy forgets the old one).
#pragma once

#include <array>
#include <map>
#include <set>
#include <vector>

#include "kube/objects.h"
#include "kube/source.h"

namespace fairlead::kube {

// What changed since the last take_dirty().
struct Dirty {
  std::set<Key> services;  // resolve these again; a key without a Service object means: delete it
  bool node = false;       // the own Node changed: resolve everything again
  bool service_cidrs = false;
  bool empty() const { return services.empty() && !node && !service_cidrs; }
};

class Store final : public Sink {
 public:
  Store() = default;
  Store(Store&&) = default;  // no copies: slices_by_service_ points into slices_
  Store& operator=(Store&&) = default;

  void upsert(Object object) override;
  void erase(Kind kind, const Key& key) override;
  void replace(Kind kind, std::vector<Object> objects) override;

  // Nothing may be programmed before Services and EndpointSlices have both been replaced once.
  bool synced() const;
  bool synced(Kind kind) const { return synced_[static_cast<std::size_t>(kind)]; }

  Dirty take_dirty();

  const Service* service(const Key& key) const;
  // The slices that name `service`, ordered by slice key; valid until the store changes.
  const std::vector<const EndpointSlice*>& slices_of(const Key& service) const;
  const std::map<Key, Service>& services() const { return services_; }
  const std::map<Key, EndpointSlice>& slices() const { return slices_; }
  std::size_t endpoint_count() const { return endpoint_count_; }  // ready or not, of slices that name a service
  const Node* node() const {
    return nodes_.empty() ? nullptr : &nodes_.begin()->second;
  }  // sources pass only the own Node
  const std::map<Key, ServiceCidr>& service_cidrs() const { return service_cidrs_; }

 private:
  void upsert_one(Service service);
  void upsert_one(EndpointSlice slice);
  void upsert_one(Node node);
  void upsert_one(ServiceCidr cidr);
  // Puts it among its service's slices or takes it from there, and marks that service.
  void own(const EndpointSlice& slice);
  void disown(const EndpointSlice& slice);
  std::vector<Key> keys(Kind kind) const;

  std::map<Key, Service> services_;
  std::map<Key, EndpointSlice> slices_;
  std::map<Key, std::vector<const EndpointSlice*>> slices_by_service_;  // of slices_, in key order
  std::size_t endpoint_count_ = 0;
  std::map<Key, Node> nodes_;
  std::map<Key, ServiceCidr> service_cidrs_;
  std::array<bool, kKindCount> synced_{};
  Dirty dirty_;
};

}  // namespace fairlead::kube
