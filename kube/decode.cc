#include "kube/decode.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "kube/decode_kinds.h"

namespace fairlead::kube {
namespace {

// Which kinds and versions are read, and as what.
enum class Shape : std::uint8_t { One, Endpoints, List };
struct KnownKind {
  std::string_view name;
  std::string_view group;     // "" is the core group
  std::string_view versions;  // separated by ", "
  Shape shape;
  Kind kind;
};
constexpr KnownKind kKnownKinds[] = {
    {"Service", "", "v1", Shape::One, Kind::Service},
    {"EndpointSlice", "discovery.k8s.io", "v1", Shape::One, Kind::EndpointSlice},
    {"Node", "", "v1", Shape::One, Kind::Node},
    {"ServiceCIDR", "networking.k8s.io", "v1, v1beta1", Shape::One, Kind::ServiceCidr},
    {"Endpoints", "", "v1", Shape::Endpoints, Kind::EndpointSlice},
    {"List", "", "v1", Shape::List, Kind::Service},
};

struct TypeName {
  std::string group;
  std::string version;
  std::string kind;
  std::string api_version() const { return group.empty() ? version : base::cat(group, "/", version); }
};

const KnownKind* find_kind(std::string_view name, std::string_view group) {
  for (const KnownKind& known : kKnownKinds) {
    if (known.name == name && known.group == group) return &known;
  }
  return nullptr;
}

Status check_version(const Field& object, const KnownKind& known, const TypeName& type) {
  for (const std::string_view version : base::split(known.versions, ',')) {
    if (base::trim(version) == type.version) return {};
  }
  const Field field = object.member("apiVersion");
  const std::string prefix = known.group.empty() ? "" : base::cat(known.group, "/");
  return field.not_a(base::cat("a version of ", known.name, " that is read here (", prefix, known.versions, ")"));
}

// A kind that is not read here may be one that was meant to be: `service`, or EndpointSlice of plain v1.
Status check_near_miss(const Field& object, const TypeName& type) {
  const Field kind = object.member("kind");
  for (const KnownKind& known : kKnownKinds) {
    if (type.kind == known.name && type.group.empty()) return check_version(object, known, {"", "", type.kind});
    if (type.kind == known.name) continue;  // somebody else's kind of that name
    if (same_but_for_case(type.kind, known.name)) return kind.not_a(base::cat("a kind; it is spelt ", known.name));
  }
  return {};
}

// `implied` is the kind of an item of a <Kind>List, which need not repeat it.
Result<TypeName> type_name(const Field& object, const TypeName* implied) {
  if (object.value().as_object() == nullptr) return object.not_a("an object");
  TRY(object.object(
      {"apiVersion", "kind", "metadata", "spec", "status", "items", "subsets", "endpoints", "ports", "addressType"}));
  const Field kind = object.member("kind");
  const Field api_version = object.member("apiVersion");
  TypeName type;
  type.kind = TRY(kind.text());
  const std::string version = TRY(api_version.text());
  if (type.kind.empty() && version.empty() && implied != nullptr) return *implied;
  if (type.kind.empty()) return kind.error("is missing (Service, EndpointSlice, Endpoints, Node, ServiceCIDR, List)");
  if (version.empty()) return api_version.error("is missing (v1 for Service, discovery.k8s.io/v1 for EndpointSlice)");
  const std::size_t slash = version.find('/');
  if (slash != version.npos) type.group = version.substr(0, slash);
  type.version = slash == version.npos ? version : version.substr(slash + 1);
  return type;
}

Result<Object> decode_one(Kind kind, const Field& object) {
  switch (kind) {
    case Kind::Service: return Object(TRY(decode_service(object)));
    case Kind::EndpointSlice: return Object(TRY(decode_endpoint_slice(object)));
    case Kind::Node: return Object(TRY(decode_node(object)));
    case Kind::ServiceCidr: return Object(TRY(decode_service_cidr(object)));
  }
  return Error("no such kind");
}

// What is legal and yet will not do what its author may expect, as no controller runs behind a manifest.
void note_unallocated(const Object& object, int line, std::vector<std::string>* notes) {
  const auto* service = std::get_if<Service>(&object);
  if (service == nullptr || service->headless || service->type == ServiceType::ExternalName) return;
  const std::string about = base::cat("line ", line, ": Service ", service->meta.key.to_string(), " has no ");
  constexpr std::string_view kNobody = ", and nothing allocates one for a manifest";
  if (service->cluster_ips.empty()) notes->push_back(base::cat(about, "clusterIP", kNobody, ": it yields nothing"));
  const bool any_node_port = std::any_of(service->ports.begin(), service->ports.end(),
                                         [](const ServicePort& port) { return port.node_port != 0; });
  if (service->type == ServiceType::NodePort && !any_node_port) {
    notes->push_back(base::cat(about, "nodePort", kNobody));
  }
}

class ManifestDecoder {
 public:
  Status add(const Field& object, const TypeName* implied) {
    const TypeName type = TRY(type_name(object, implied));
    if (const KnownKind* known = find_kind(type.kind, type.group)) {
      TRY(check_version(object, *known, type));
      return add_known(object, *known);
    }
    if (type.kind.size() > 4 && type.kind.ends_with("List") && object.value()["items"].as_array() != nullptr) {
      return add_list(object, {type.group, type.version, type.kind.substr(0, type.kind.size() - 4)});
    }
    TRY(check_near_miss(object, type));
    out_.notes.push_back(base::cat("line ", object.line(), ": ", type.api_version(), " ", type.kind,
                                   " is ignored: no business of a service proxy"));
    return {};
  }
  DecodedManifest take() { return std::move(out_); }

 private:
  Status add_list(const Field& list, const TypeName& item_type) {
    const Field items = list.member("items");
    return items.each([&](const Field& item) { return add(item, &item_type); });
  }

  Status add_known(const Field& object, const KnownKind& known) {
    if (known.shape == Shape::List) {
      const Field items = object.member("items");
      return items.each([&](const Field& item) { return add(item, nullptr); });
    }
    if (known.shape == Shape::Endpoints) {
      for (EndpointSlice& slice : TRY(decode_endpoints(object))) {
        out_.objects.push_back({Object(std::move(slice)), object.line()});
      }
      return {};
    }
    Object decoded = TRY(decode_one(known.kind, object));
    note_unallocated(decoded, object.line(), &out_.notes);
    out_.objects.push_back({std::move(decoded), object.line()});
    return {};
  }

  DecodedManifest out_;
};

}  // namespace

Result<Object> decode_object(Kind kind, const base::Value& value, Strictness strictness) {
  return decode_one(kind, Field(value, strictness));
}

Result<Object> decode_object(const base::Value& value, Strictness strictness) {
  const Field object(value, strictness);
  const TypeName type = TRY(type_name(object, nullptr));
  const KnownKind* known = find_kind(type.kind, type.group);
  if (known == nullptr || known->shape != Shape::One) {
    const Field kind = object.member("kind");
    return kind.not_a("a kind that is read here (Service, EndpointSlice, Node, ServiceCIDR)");
  }
  TRY(check_version(object, *known, type));
  return decode_one(known->kind, object);
}

Result<DecodedManifest> decode_manifest(const base::Value& document) {
  ManifestDecoder decoder;
  TRY(decoder.add(Field(document, Strictness::Strict), nullptr));
  return decoder.take();
}

}  // namespace fairlead::kube
