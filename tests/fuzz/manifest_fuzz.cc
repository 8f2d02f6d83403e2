// libFuzzer entry for everything that reads a manifest: YAML, JSON, strict and lenient decoding, then the store and the
// model. The first byte chooses the format. It must neither crash nor take long.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/json.h"
#include "kube/decode.h"
#include "kube/manifest_set.h"
#include "kube/store.h"
#include "proxy/model/resolve.h"

namespace fairlead {
namespace {

void check(bool holds) {
  if (!holds) __builtin_trap();
}

void read_as_manifest(std::string_view name, std::string_view text) {
  const auto manifest = kube::parse_manifest(name, text);
  if (!manifest) return check(!manifest.error().message().empty());
  kube::Store store;
  for (const kube::ManifestObject& one : manifest->objects) store.upsert(one.object);
  (void)proxy::model::resolve_all(store, {.name = "node1", .zone = "zone-a"});
  check(store.services().size() + store.slices().size() <= manifest->objects.size());
}

void read_as_api_object(std::string_view text) {
  const auto value = base::parse_json(text);
  if (!value) return;
  const auto again = base::parse_json(base::to_json(*value));
  check(again.has_value());
  (void)kube::decode_object(*value, kube::Strictness::Lenient);
  for (const kube::Kind kind :
       {kube::Kind::Service, kube::Kind::EndpointSlice, kube::Kind::Node, kube::Kind::ServiceCidr}) {
    (void)kube::decode_object(kind, *value, kube::Strictness::Lenient);
  }
}

}  // namespace
}  // namespace fairlead

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0: fairlead::read_as_manifest("fuzz.json", text); break;
    case 1: fairlead::read_as_api_object(text); break;
    default: fairlead::read_as_manifest("fuzz.yaml", text); break;
  }
  return 0;
}
