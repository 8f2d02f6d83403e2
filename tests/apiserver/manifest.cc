#include "tests/apiserver/manifest.h"

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/strings.h"
#include "kube/yaml.h"

namespace fairlead::tests::apiserver {
namespace {

Status take(base::Value document, std::vector<Manifest>& out) {
  const std::string* kind = document["kind"].as_string();
  if (kind == nullptr) return Error(base::cat("line ", document.line, ": kind: a string expected"));
  if (*kind == "List") {
    const base::Value::Array* items = document["items"].as_array();
    if (items == nullptr) return Error(base::cat("line ", document.line, ": items: a list expected"));
    for (const base::Value& item : *items) TRY(take(item, out));
    return {};
  }
  if (const auto resource = resource_of_kind(*kind)) out.push_back({*resource, std::move(document)});
  return {};
}

}  // namespace

Result<std::vector<Manifest>> parse_manifests(std::string_view text) {
  std::vector<Manifest> out;
  std::vector<base::Value> documents = TRY(kube::parse_yaml(text));  // YAML holds JSON
  for (base::Value& document : documents) TRY(take(std::move(document), out));
  return out;
}

Result<std::vector<Manifest>> load_manifests(const std::string& directory) {
  std::vector<std::string> paths;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(directory, failed)) {
    const auto extension = entry.path().extension();
    if (extension == ".yaml" || extension == ".yml" || extension == ".json") paths.push_back(entry.path().string());
  }
  if (failed) return Error::from_errno(base::cat("cannot read ", directory), failed.value());
  std::sort(paths.begin(), paths.end());
  std::vector<Manifest> out;
  for (const std::string& path : paths) {
    const std::string text = TRY(base::read_file(path));
    std::vector<Manifest> more = TRY_CONTEXT(parse_manifests(text), path);
    std::move(more.begin(), more.end(), std::back_inserter(out));
  }
  return out;
}

}  // namespace fairlead::tests::apiserver
