#include "tests/apiserver/object.h"

#include <algorithm>

#include "base/strings.h"
#include "net/ip.h"

namespace fairlead::tests::apiserver {
namespace {

using base::cat;
using base::Value;

constexpr ResourceInfo kInfo[] = {
    {"services", "Service", "v1", "/api/v1", true, &service_message},
    {"endpointslices", "EndpointSlice", "discovery.k8s.io/v1", "/apis/discovery.k8s.io/v1", true,
     &endpoint_slice_message},
    {"nodes", "Node", "v1", "/api/v1", false, &node_message},
    {"servicecidrs", "ServiceCIDR", "networking.k8s.io/v1", "/apis/networking.k8s.io/v1", false, &service_cidr_message},
};

void set_default(Value& object, std::string_view key, Value value) {
  Value& slot = member(object, key);
  if (slot.is_null()) slot = std::move(value);
}

bool is(const Value& value, std::string_view text) {
  return value.as_string() != nullptr && *value.as_string() == text;
}

// The defaults of pkg/apis/core/v1/defaults.go and pkg/registry/core/service (v1.36) that a reader can see.
void default_service(Value& object) {
  Value& spec = member(object, "spec");
  set_default(spec, "type", Value("ClusterIP"));
  set_default(spec, "sessionAffinity", Value("None"));
  if (Value::Array* ports = member(spec, "ports").as_array()) {
    for (Value& port : *ports) set_default(port, "protocol", Value("TCP"));
  }
  if (is(spec["type"], "ExternalName")) return;
  set_default(spec, "internalTrafficPolicy", Value("Cluster"));
  if (is(spec["type"], "NodePort") || is(spec["type"], "LoadBalancer")) {
    set_default(spec, "externalTrafficPolicy", Value("Cluster"));
  }
  if (is(spec["sessionAffinity"], "ClientIP")) {
    set_default(member(member(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds", Value(10800));
  }
  if (const Value::Array* ips = spec["clusterIPs"].as_array(); ips != nullptr && !ips->empty()) {
    set_default(spec, "clusterIP", Value(ips->front()));
  }
  if (spec["clusterIP"].as_string() == nullptr) return;
  set_default(spec, "clusterIPs", Value(Value::Array{spec["clusterIP"]}));
  Value::Array families;
  if (const Value::Array* ips = spec["clusterIPs"].as_array()) {
    for (const Value& ip : *ips) {
      const auto parsed =
          ip.as_string() != nullptr ? net::Ip::parse_sloppy(*ip.as_string()) : Result<net::Ip>(Error(""));
      if (parsed) families.emplace_back(net::to_string(parsed->family()));
    }
  }
  if (families.empty()) families.emplace_back("IPv4");
  const bool dual = families.size() > 1;
  set_default(spec, "ipFamilies", Value(std::move(families)));
  set_default(spec, "ipFamilyPolicy", Value(dual ? "RequireDualStack" : "SingleStack"));
}

void default_slice(Value& object) {
  if (Value::Array* ports = member(object, "ports").as_array()) {
    for (Value& port : *ports) {
      set_default(port, "name", Value(""));
      set_default(port, "protocol", Value("TCP"));
    }
  }
}

Result<kube::Key> default_meta(Resource resource, Value& object) {
  Value& meta = member(object, "metadata");
  if (!meta.is_null() && meta.as_object() == nullptr) return Error("metadata: an object expected");
  const std::string* name = meta["name"].as_string();
  if (name == nullptr || name->empty()) return Error("metadata.name: a name expected");
  kube::Key key{.ns = "", .name = *name};
  if (info(resource).namespaced) {
    set_default(meta, "namespace", Value("default"));
    if (meta["namespace"].as_string() == nullptr) return Error("metadata.namespace: a string expected");
    key.ns = *meta["namespace"].as_string();
  } else {
    remove_member(meta, "namespace");
  }
  set_default(meta, "uid", Value(cat("uid-", info(resource).plural, "-", key.to_string())));
  set_default(meta, "creationTimestamp", Value("2024-01-01T00:00:00Z"));
  return key;
}

Result<std::map<std::string, std::string>> labels_of(const Value& value) {
  std::map<std::string, std::string> labels;
  const Value::Object* members = value["metadata"]["labels"].as_object();
  if (members == nullptr) return labels;
  for (const auto& [key, text] : *members) {
    if (text.as_string() == nullptr) return Error(cat("metadata.labels.", key, ": a string expected"));
    labels[key] = *text.as_string();
  }
  return labels;
}

// `left` and `right` without member `skip`, whose values `compare` judges instead.
template <typename Compare>
bool same_members(const Value& left, const Value& right, std::string_view skip, Compare compare) {
  const Value::Object* a = left.as_object();
  const Value::Object* b = right.as_object();
  if (a == nullptr || b == nullptr) return left == right;
  return std::equal(a->begin(), a->end(), b->begin(), b->end(), [&](const auto& x, const auto& y) {
    return x.first == y.first && (x.first == skip ? compare(x.second, y.second) : x.second == y.second);
  });
}

}  // namespace

const ResourceInfo& info(Resource resource) { return kInfo[static_cast<std::size_t>(resource)]; }

std::optional<Resource> resource_of_kind(std::string_view kind) {
  for (const Resource resource : kResources) {
    if (info(resource).kind == kind) return resource;
  }
  return std::nullopt;
}

std::optional<Resource> resource_of_plural(std::string_view plural) {
  for (const Resource resource : kResources) {
    if (info(resource).plural == plural) return resource;
  }
  return std::nullopt;
}

base::Value& member(Value& value, std::string_view key) {
  if (value.as_object() == nullptr) value = Value(Value::Object());
  Value::Object& members = *value.as_object();
  const auto it = std::find_if(members.begin(), members.end(), [&](const auto& entry) { return entry.first == key; });
  if (it != members.end()) return it->second;
  return members.emplace_back(std::string(key), Value()).second;
}

void remove_member(Value& value, std::string_view key) {
  if (Value::Object* members = value.as_object()) {
    std::erase_if(*members, [&](const auto& entry) { return entry.first == key; });
  }
}

Result<ObjectPtr> ApiObject::create(Resource resource, Value value, std::uint64_t version) {
  if (value.as_object() == nullptr) return Error(cat("an object expected, not ", value.type_name()));
  remove_member(value, "kind");
  remove_member(value, "apiVersion");
  std::shared_ptr<ApiObject> object(new ApiObject());
  object->resource_ = resource;
  object->version_ = version;
  object->key_ = TRY(default_meta(resource, value));
  if (resource == Resource::Services) default_service(value);
  if (resource == Resource::EndpointSlices) default_slice(value);
  // Nulls that looking for a member left behind are no content.
  std::erase_if(*value.as_object(), [](const auto& entry) { return entry.second.is_null(); });
  object->labels_ = TRY(labels_of(value));
  member(member(value, "metadata"), "resourceVersion") = Value(std::to_string(version));
  object->value_ = std::move(value);
  // The typed encoding is also the validation, and the one most clients ask for.
  object->encoded_[static_cast<std::size_t>(Encoding::Protobuf)] =
      std::make_shared<const std::string>(TRY(encode_protobuf(object->value_, info(resource).message())));
  return ObjectPtr(std::move(object));
}

ObjectPtr ApiObject::at_version(std::uint64_t version) const {
  std::shared_ptr<ApiObject> copy(new ApiObject(*this));
  copy->version_ = version;
  member(member(copy->value_, "metadata"), "resourceVersion") = Value(std::to_string(version));
  copy->encoded_ = {};
  return copy;
}

std::string_view ApiObject::field(std::string_view path) const {
  const Value* at = &value_;
  for (const std::string_view part : base::split(path, '.')) at = &(*at)[part];
  const std::string* text = at->as_string();
  return text != nullptr ? std::string_view(*text) : std::string_view();
}

const SharedText& ApiObject::encoded(Encoding encoding) const {
  SharedText& slot = encoded_[static_cast<std::size_t>(encoding)];
  if (slot) return slot;
  std::string text;
  if (encoding == Encoding::Protobuf) {
    auto bytes = encode_protobuf(value_, info(resource_).message());  // create() proved that it succeeds
    if (bytes) text = std::move(*bytes);
  } else {
    append_json(text, value_);
    text.erase(0, 1);
  }
  slot = std::make_shared<const std::string>(std::move(text));
  return slot;
}

bool ApiObject::same_content(const ApiObject& other) const {
  return same_members(value_, other.value_, "metadata", [](const Value& a, const Value& b) {
    return same_members(a, b, "resourceVersion", [](const Value&, const Value&) { return true; });
  });
}

}  // namespace fairlead::tests::apiserver
