// decode: base::Value (from JSON or YAML) -> kube objects.
//
// Strict is for manifests, which no API server has validated: unknown enum values, bad addresses, out-of-range ports
// and misspelt fields are errors that name line, field path, value and what is allowed. Lenient is for what an API
// server sent: what kube-proxy would skip (blank or invalid addresses, unknown protocols) is dropped, leading zeros are
// read as decimal (kubernetes v1.36 pkg/proxy/serviceport.go); values of the wrong type are errors in both. Unknown
// fields are ignored in both. Pure; one pass over the tree.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "kube/objects.h"

namespace fairlead::kube {

enum class Strictness : std::uint8_t { Strict, Lenient };

// One object of a kind the caller knows (list items carry no "kind"). Does not apply selected().
Result<Object> decode_object(Kind kind, const base::Value& value, Strictness strictness);
// One object that names its kind and apiVersion. Error when that is no Kind.
Result<Object> decode_object(const base::Value& value, Strictness strictness);

struct ManifestObject {
  Object object;
  int line = 0;  // where it begins
  bool operator==(const ManifestObject&) const = default;
};
struct DecodedManifest {
  std::vector<ManifestObject> objects;
  std::vector<std::string> notes;  // for people: what was ignored, what will have no effect; each begins "line N: "
};

// A manifest document: one object, a List or a <Kind>List, taken apart. Endpoints become the slices that the mirroring
// controller would write. Kinds that are not a service proxy's business are noted. Strict.
Result<DecodedManifest> decode_manifest(const base::Value& document);

}  // namespace fairlead::kube
