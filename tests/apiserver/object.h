// ApiObject: one Kubernetes object as the server keeps it: a JSON-shaped tree, and its encodings made when first asked.
//
// Immutable once stored, shared by the store, the history and every stream that still has to send it. The encodings
// are made lazily and belong to the server's thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "kube/objects.h"
#include "tests/apiserver/schema.h"

namespace fairlead::tests::apiserver {

enum class Resource : std::uint8_t { Services, EndpointSlices, Nodes, ServiceCidrs };
inline constexpr std::array kResources{Resource::Services, Resource::EndpointSlices, Resource::Nodes,
                                       Resource::ServiceCidrs};

struct ResourceInfo {
  std::string_view plural;       // "services"
  std::string_view kind;         // "Service"
  std::string_view api_version;  // "v1", "discovery.k8s.io/v1"
  std::string_view prefix;       // "/api/v1", "/apis/discovery.k8s.io/v1"
  bool namespaced = false;
  const Message& (*message)() = nullptr;
};
const ResourceInfo& info(Resource resource);
std::optional<Resource> resource_of_kind(std::string_view kind);
std::optional<Resource> resource_of_plural(std::string_view plural);

enum class Encoding : std::uint8_t { Json, Protobuf };
using SharedText = std::shared_ptr<const std::string>;

class ApiObject {
 public:
  // Takes `value` as a user would write it; fills in what an API server defaults (protocol, clusterIPs, families, uid).
  // An Error names the field that a typed server would refuse.
  static Result<std::shared_ptr<const ApiObject>> create(Resource resource, base::Value value, std::uint64_t version);
  // The same object at another resourceVersion.
  std::shared_ptr<const ApiObject> at_version(std::uint64_t version) const;

  Resource resource() const { return resource_; }
  const kube::Key& key() const { return key_; }
  std::uint64_t version() const { return version_; }
  const base::Value& value() const { return value_; }
  const std::map<std::string, std::string>& labels() const { return labels_; }
  // Value of a selectable field such as "spec.clusterIP"; empty when absent.
  std::string_view field(std::string_view path) const;

  // Protobuf: the bare message. JSON: the members without the opening brace, so that kind and apiVersion can be put
  // before them (a watch and a get have them, the items of a list do not).
  const SharedText& encoded(Encoding encoding) const;

  // Equal but for the resourceVersion: writing it would change nothing.
  bool same_content(const ApiObject& other) const;

 private:
  ApiObject() = default;
  Resource resource_ = Resource::Services;
  kube::Key key_;
  std::uint64_t version_ = 0;
  base::Value value_;
  std::map<std::string, std::string> labels_;
  mutable std::array<SharedText, 2> encoded_;
};
using ObjectPtr = std::shared_ptr<const ApiObject>;

// Member `key` of an object, made null when absent; `value` must be null or an object.
base::Value& member(base::Value& value, std::string_view key);
void remove_member(base::Value& value, std::string_view key);

}  // namespace fairlead::tests::apiserver
