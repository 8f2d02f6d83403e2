// ManifestSet: which object of which manifest file is in force. Pure: no file is opened here.
//
// Every file has its last good objects. When two files define one object, the first by file name wins; when it goes,
// the next takes over. Objects that selected() excludes and other nodes' Nodes are known but never in force. A changed
// file costs its own objects, not everybody's.
#pragma once

#include <compare>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "kube/decode.h"
#include "kube/objects.h"

namespace fairlead::kube {

// The text of one file, as YAML documents or, by its name, JSON. An object defined twice in it is an error.
Result<DecodedManifest> parse_manifest(std::string_view file_name, std::string_view text);

struct ManifestError {
  std::string file;
  std::string message;
  bool operator==(const ManifestError&) const = default;
};

class ManifestSet {
 public:
  explicit ManifestSet(std::string node_name) : node_name_(std::move(node_name)) {}

  struct Change {
    std::vector<Object> upserted;
    std::vector<std::pair<Kind, Key>> erased;
    std::vector<ManifestError> conflicts;  // definitions that lost to another file by this change
  };
  // The objects of `file` are these from now on; none when it is gone.
  Change set_file(const std::string& file, std::vector<ManifestObject> objects);

  std::vector<Object> in_force(Kind kind) const;
  std::vector<ManifestError> conflicts() const;  // every definition that another file overrules

 private:
  struct Id {
    Kind kind;
    Key key;
    auto operator<=>(const Id&) const = default;
  };
  using Objects = std::map<Id, ManifestObject>;

  const ManifestObject* find(const std::string& file, const Id& id) const;
  const Object* in_force(const Id& id) const;
  void claim(const Id& id, const std::string& file);
  void release(const Id& id, const std::string& file);
  ManifestError conflict(const Id& id, const std::string& loser) const;

  std::string node_name_;
  std::map<std::string, Objects> files_;
  std::map<Id, std::vector<std::string>> claims_;  // who defines it, in name order: the first wins
};

}  // namespace fairlead::kube
