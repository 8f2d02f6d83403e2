// resolve(): the Kubernetes service rules, once. Pure: no system call, no clock, no memory.
#pragma once

#include <vector>

#include "kube/objects.h"
#include "kube/store.h"
#include "proxy/model/node.h"
#include "proxy/model/service_state.h"

namespace fairlead::proxy::model {

// `slices` are those labelled with the service's name in its namespace, in any order.
ServiceState resolve(const kube::Service& service, const std::vector<const kube::EndpointSlice*>& slices,
                     const NodeView& node);

// Resolves what is dirty: every service when `dirty.node`, else the dirty ones.
Changes resolve_changes(const kube::Store& store, const kube::Dirty& dirty, const NodeView& node);
std::vector<ServiceState> resolve_all(const kube::Store& store, const NodeView& node);

}  // namespace fairlead::proxy::model
