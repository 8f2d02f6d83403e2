#include "tests/demo/manifests.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/strings.h"
#include "kube/decode.h"
#include "kube/yaml.h"
#include "tests/demo/yaml_text.h"

namespace fairlead::demo {
namespace {

using base::cat;
using base::Value;

Value* member(Value& object, std::string_view key) {
  Value::Object* members = object.as_object();
  if (members == nullptr) return nullptr;
  for (auto& [name, value] : *members) {
    if (name == key) return &value;
  }
  return nullptr;
}

bool is(const Value& value, std::string_view text) {
  return value.as_string() != nullptr && *value.as_string() == text;
}

bool is_slice_of(const Value& object, const kube::Key& service) {
  const Value& meta = object["metadata"];
  const bool same_namespace = meta["namespace"].is_null() ? service.ns == "default" : is(meta["namespace"], service.ns);
  return is(object["kind"], "EndpointSlice") && same_namespace &&
         is(meta["labels"][kube::kServiceNameLabel], service.name);
}

// Both are kept up to date by the controller of a real cluster.
Value endpoint_value(const PodEndpoint& pod, net::Family family) {
  Value conditions;
  conditions.set("ready", Value(pod.ready)).set("serving", Value(pod.ready)).set("terminating", Value(false));
  Value endpoint;
  const net::Ip& ip = family == net::Family::V4 ? pod.v4 : pod.v6;
  endpoint.set("addresses", Value(Value::Array{Value(ip.to_string())}));
  endpoint.set("conditions", std::move(conditions));
  endpoint.set("nodeName", Value(pod.node));
  return endpoint;
}

// The first slice of each family takes all; true when something was changed.
bool edit(Value& object, const kube::Key& service, const std::vector<PodEndpoint>& pods, std::set<net::Family>& done) {
  if (Value* items = member(object, "items"); items != nullptr && items->as_array() != nullptr) {
    bool changed = false;
    for (Value& item : *items->as_array()) changed = edit(item, service, pods, done) || changed;
    return changed;
  }
  if (!is_slice_of(object, service)) return false;
  const net::Family family = is(object["addressType"], "IPv6") ? net::Family::V6 : net::Family::V4;
  Value::Array endpoints;
  if (done.insert(family).second) {
    for (const PodEndpoint& pod : pods) endpoints.push_back(endpoint_value(pod, family));
  }
  if (Value* old = member(object, "endpoints")) {
    *old = Value(std::move(endpoints));
  } else {
    object.set("endpoints", Value(std::move(endpoints)));
  }
  return true;
}

}  // namespace

Result<Manifests> Manifests::load(const std::string& directory) {
  std::vector<std::filesystem::path> paths;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(directory, failed)) {
    const auto extension = entry.path().extension();
    if (extension == ".yaml" || extension == ".yml" || extension == ".json") paths.push_back(entry.path());
  }
  if (failed) return Error::from_errno(cat("read directory ", directory), failed.value());
  std::sort(paths.begin(), paths.end());
  Manifests manifests;
  for (const auto& path : paths) {
    const std::string text = TRY(base::read_file(path));
    manifests.files_.push_back({path.filename(), text, TRY_CONTEXT(kube::parse_yaml(text), path.string())});
  }
  TRY(manifests.decode());
  return manifests;
}

Status Manifests::decode() {
  services_.clear();
  slices_.clear();
  for (const ManifestFile& file : files_) {
    for (const Value& document : file.documents) {
      kube::DecodedManifest decoded = TRY_CONTEXT(kube::decode_manifest(document), file.name);
      for (kube::ManifestObject& each : decoded.objects) {
        if (auto* slice = std::get_if<kube::EndpointSlice>(&each.object)) slices_.push_back(std::move(*slice));
        auto* service = std::get_if<kube::Service>(&each.object);
        if (service != nullptr && !service->headless && !service->cluster_ips.empty()) {
          services_.push_back(std::move(*service));
        }
      }
    }
  }
  return {};
}

Result<const kube::Service*> Manifests::service(const std::string& name) const {
  for (const kube::Service& service : services_) {
    if (service.meta.key.name == name) return &service;
  }
  return Error(cat("the manifests hold no service \"", name, "\""));
}

std::vector<const kube::EndpointSlice*> Manifests::slices_of(const kube::Key& service) const {
  std::vector<const kube::EndpointSlice*> found;
  for (const kube::EndpointSlice& slice : slices_) {
    if (slice.meta.key.ns == service.ns && slice.service_name == service.name) found.push_back(&slice);
  }
  return found;
}

Result<std::vector<const ManifestFile*>> Manifests::set_endpoints(const kube::Key& service,
                                                                  const std::vector<PodEndpoint>& pods) {
  std::set<net::Family> done;
  std::vector<const ManifestFile*> changed;
  for (ManifestFile& file : files_) {
    bool touched = false;
    for (Value& document : file.documents) touched = edit(document, service, pods, done) || touched;
    if (!touched) continue;
    file.text = to_yaml(file.documents);
    changed.push_back(&file);
  }
  if (changed.empty()) return Error(cat("no EndpointSlice of ", service.to_string(), " in the manifests"));
  TRY(decode());
  return changed;
}

}  // namespace fairlead::demo
