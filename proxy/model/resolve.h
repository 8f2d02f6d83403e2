// resolve(): the Kubernetes service rules, once. Pure: no system call, no clock, no memory.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kube/objects.h"
#include "kube/store.h"
#include "proxy/model/service_state.h"

namespace fairlead::proxy::model {

// What of the own node the rules depend on.
struct NodeView {
  std::string name;
  std::string zone;  // label topology.kubernetes.io/zone; empty when absent
  bool operator==(const NodeView&) const = default;
};
// `node_name` is ours whether or not the Node object has been seen yet.
NodeView node_view(const kube::Store& store, std::string_view node_name);

// `slices` are those labelled with the service's name in its namespace, in any order.
ServiceState resolve(const kube::Service& service, const std::vector<const kube::EndpointSlice*>& slices,
                     const NodeView& node);

// Resolves what is dirty: every service when the node changed, else the dirty ones.
Changes resolve_changes(const kube::Store& store, const kube::Dirty& dirty, const NodeView& node);
std::vector<ServiceState> resolve_all(const kube::Store& store, const NodeView& node);

}  // namespace fairlead::proxy::model
