// Manifests: YAML or JSON text, or a directory of such files, as objects the server can store.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/apiserver/object.h"

namespace fairlead::tests::apiserver {

struct Manifest {
  Resource resource = Resource::Services;
  base::Value value;
};

// Several documents and `kind: List` are taken apart; kinds this server does not keep (Pod, Deployment) are left out.
Result<std::vector<Manifest>> parse_manifests(std::string_view text);
// Every *.yaml, *.yml and *.json of `directory`, in the order of names. An Error names the file.
Result<std::vector<Manifest>> load_manifests(const std::string& directory);

}  // namespace fairlead::tests::apiserver
