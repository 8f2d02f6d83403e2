#include "kube/manifest_set.h"

#include <algorithm>
#include <optional>

#include "base/json.h"
#include "base/strings.h"
#include "kube/yaml.h"

namespace fairlead::kube {
namespace {

std::string name_of(const Object& object) {
  return base::cat(to_string(kind_of(object)), " ", meta_of(object).key.to_string());
}

Status check_unique(const std::vector<ManifestObject>& objects) {
  std::map<std::string, int> lines;
  for (const ManifestObject& one : objects) {
    const auto [it, added] = lines.emplace(name_of(one.object), one.line);
    if (!added)
      return Error(base::cat("line ", one.line, ": ", it->first, " appears twice, first in line ", it->second));
  }
  return {};
}

}  // namespace

Result<DecodedManifest> parse_manifest(std::string_view file_name, std::string_view text) {
  std::vector<base::Value> documents;
  if (file_name.ends_with(".json")) {
    documents.push_back(TRY(base::parse_json(text)));
  } else {
    documents = TRY(parse_yaml(text));
  }
  DecodedManifest out;
  for (base::Value& document : documents) {
    DecodedManifest part = TRY(decode_manifest(document));
    document = base::Value();
    std::move(part.objects.begin(), part.objects.end(), std::back_inserter(out.objects));
    std::move(part.notes.begin(), part.notes.end(), std::back_inserter(out.notes));
  }
  TRY(check_unique(out.objects));
  return out;
}

const ManifestObject* ManifestSet::find(const std::string& file, const Id& id) const {
  const auto objects = files_.find(file);
  if (objects == files_.end()) return nullptr;
  const auto it = objects->second.find(id);
  return it == objects->second.end() ? nullptr : &it->second;
}

const Object* ManifestSet::in_force(const Id& id) const {
  const auto claimants = claims_.find(id);
  if (claimants == claims_.end()) return nullptr;
  const ManifestObject* winner = find(claimants->second.front(), id);
  if (winner == nullptr || !selected(winner->object)) return nullptr;
  if (id.kind == Kind::Node && id.key.name != node_name_) return nullptr;
  return &winner->object;
}

void ManifestSet::claim(const Id& id, const std::string& file) {
  std::vector<std::string>& claimants = claims_[id];
  const auto place = std::lower_bound(claimants.begin(), claimants.end(), file);
  if (place == claimants.end() || *place != file) claimants.insert(place, file);
}

void ManifestSet::release(const Id& id, const std::string& file) {
  const auto it = claims_.find(id);
  if (it == claims_.end()) return;
  std::erase(it->second, file);
  if (it->second.empty()) claims_.erase(it);
}

ManifestError ManifestSet::conflict(const Id& id, const std::string& loser) const {
  const ManifestObject* object = find(loser, id);
  return {loser, base::cat("line ", object->line, ": ", to_string(id.kind), " ", id.key.to_string(), " is defined in ",
                           claims_.at(id).front(), " too; that definition is in force")};
}

ManifestSet::Change ManifestSet::set_file(const std::string& file, std::vector<ManifestObject> objects) {
  Objects next;
  for (ManifestObject& one : objects) {
    Id id{kind_of(one.object), meta_of(one.object).key};
    next.insert_or_assign(std::move(id), std::move(one));
  }
  Objects& mine = files_[file];
  std::map<Id, std::optional<Object>> before;  // of what this file defines, or did
  std::map<Id, std::vector<std::string>> claims_before;
  for (const Objects* part : {&mine, &next}) {
    for (const auto& [id, ignored] : *part) {
      const Object* object = in_force(id);
      before.try_emplace(id, object == nullptr ? std::nullopt : std::optional<Object>(*object));
      if (const auto it = claims_.find(id); it != claims_.end()) claims_before.try_emplace(id, it->second);
    }
  }
  for (const auto& [id, ignored] : mine) release(id, file);
  for (const auto& [id, ignored] : next) claim(id, file);
  mine = std::move(next);
  if (mine.empty()) files_.erase(file);

  Change change;
  for (const auto& [id, old_object] : before) {
    const Object* object = in_force(id);
    if (object != nullptr && old_object != *object) {
      change.upserted.push_back(*object);
    } else if (object == nullptr && old_object) {
      change.erased.emplace_back(id.kind, id.key);
    }
    const auto claimants = claims_.find(id);
    if (claimants == claims_.end()) continue;
    const auto old_claimants = claims_before.find(id);
    for (std::size_t i = 1; i < claimants->second.size(); ++i) {
      const std::string& loser = claimants->second[i];
      const bool lost_before = old_claimants != claims_before.end() && old_claimants->second.front() != loser &&
                               std::count(old_claimants->second.begin(), old_claimants->second.end(), loser) != 0;
      if (!lost_before) change.conflicts.push_back(conflict(id, loser));
    }
  }
  return change;
}

std::vector<Object> ManifestSet::in_force(Kind kind) const {
  std::vector<Object> out;
  for (const auto& [id, ignored] : claims_) {
    if (id.kind != kind) continue;
    if (const Object* object = in_force(id)) out.push_back(*object);
  }
  return out;
}

std::vector<ManifestError> ManifestSet::conflicts() const {
  std::vector<ManifestError> out;
  for (const auto& [id, claimants] : claims_) {
    for (std::size_t i = 1; i < claimants.size(); ++i) out.push_back(conflict(id, claimants[i]));
  }
  return out;
}

}  // namespace fairlead::kube
