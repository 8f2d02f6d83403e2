#include "kube/store.h"

#include <algorithm>
#include <utility>

namespace fairlead::kube {
namespace {

// Whether they differ in more than resourceVersion. Takes over the newer version when they do not.
template <typename T>
bool differs(T* have, const T& want) {
  std::string old_version = std::exchange(have->meta.resource_version, want.meta.resource_version);
  if (*have == want) return false;
  have->meta.resource_version = std::move(old_version);
  return true;
}

// The service a slice belongs to; an empty name means none.
Key owner_of(const EndpointSlice& slice) { return {slice.meta.key.ns, slice.service_name}; }

bool in_key_order(const EndpointSlice* a, const EndpointSlice* b) { return a->meta.key < b->meta.key; }

}  // namespace

void Store::upsert(Object object) {
  std::visit([this]<typename T>(T&& value) { upsert_one(std::forward<T>(value)); }, std::move(object));
}

void Store::upsert_one(Service service) {
  auto [it, added] = services_.try_emplace(service.meta.key);
  if (!added && !differs(&it->second, service)) return;
  dirty_.services.insert(it->first);
  it->second = std::move(service);
}

void Store::upsert_one(EndpointSlice slice) {
  auto [it, added] = slices_.try_emplace(slice.meta.key);
  if (!added && !differs(&it->second, slice)) return;
  if (!added) disown(it->second);
  it->second = std::move(slice);
  own(it->second);
}

void Store::own(const EndpointSlice& slice) {
  if (slice.service_name.empty()) return;
  Key owner = owner_of(slice);
  std::vector<const EndpointSlice*>& siblings = slices_by_service_[owner];
  siblings.insert(std::lower_bound(siblings.begin(), siblings.end(), &slice, in_key_order), &slice);
  endpoint_count_ += slice.endpoints.size();
  dirty_.services.insert(std::move(owner));
}

void Store::disown(const EndpointSlice& slice) {
  if (slice.service_name.empty()) return;
  Key owner = owner_of(slice);
  const auto it = slices_by_service_.find(owner);
  std::erase(it->second, &slice);
  if (it->second.empty()) slices_by_service_.erase(it);
  endpoint_count_ -= slice.endpoints.size();
  dirty_.services.insert(std::move(owner));
}

void Store::upsert_one(Node node) {
  auto [it, added] = nodes_.try_emplace(node.meta.key);
  if (!added && !differs(&it->second, node)) return;
  it->second = std::move(node);
  dirty_.node = true;
}

void Store::upsert_one(ServiceCidr cidr) {
  auto [it, added] = service_cidrs_.try_emplace(cidr.meta.key);
  if (!added && !differs(&it->second, cidr)) return;
  it->second = std::move(cidr);
  dirty_.service_cidrs = true;
}

void Store::erase(Kind kind, const Key& key) {
  switch (kind) {
    case Kind::Service:
      if (services_.erase(key) != 0) dirty_.services.insert(key);
      return;
    case Kind::EndpointSlice:
      if (const auto it = slices_.find(key); it != slices_.end()) {
        disown(it->second);
        slices_.erase(it);
      }
      return;
    case Kind::Node:
      if (nodes_.erase(key) != 0) dirty_.node = true;
      return;
    case Kind::ServiceCidr:
      if (service_cidrs_.erase(key) != 0) dirty_.service_cidrs = true;
      return;
  }
}

void Store::replace(Kind kind, std::vector<Object> objects) {
  std::vector<Key> missing = keys(kind);
  std::vector<Key> present;
  for (Object& object : objects) {
    if (kind_of(object) != kind) continue;
    if (!missing.empty()) present.push_back(meta_of(object).key);
    upsert(std::move(object));
  }
  std::sort(present.begin(), present.end());
  std::erase_if(missing, [&](const Key& key) { return std::binary_search(present.begin(), present.end(), key); });
  for (const Key& key : missing) erase(kind, key);
  synced_[static_cast<std::size_t>(kind)] = true;
}

std::vector<Key> Store::keys(Kind kind) const {
  std::vector<Key> out;
  const auto collect = [&out](const auto& map) {
    out.reserve(map.size());
    for (const auto& entry : map) out.push_back(entry.first);
  };
  switch (kind) {
    case Kind::Service: collect(services_); break;
    case Kind::EndpointSlice: collect(slices_); break;
    case Kind::Node: collect(nodes_); break;
    case Kind::ServiceCidr: collect(service_cidrs_); break;
  }
  return out;
}

bool Store::synced() const { return synced(Kind::Service) && synced(Kind::EndpointSlice); }

Dirty Store::take_dirty() { return std::exchange(dirty_, {}); }

const Service* Store::service(const Key& key) const {
  const auto it = services_.find(key);
  return it == services_.end() ? nullptr : &it->second;
}

const std::vector<const EndpointSlice*>& Store::slices_of(const Key& service) const {
  static const std::vector<const EndpointSlice*> none;
  const auto it = slices_by_service_.find(service);
  return it == slices_by_service_.end() ? none : it->second;
}

}  // namespace fairlead::kube
