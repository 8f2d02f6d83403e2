// Fields: the members of one JSON object of a configuration, found as Go finds them (exact name first, else without
// regard to ASCII case; null is absence), with errors that name the path, the value and what is allowed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "net/ip.h"

namespace fairlead::cni {

class Fields {
 public:
  // `object` may be null: everything is absent then. `path` names it in errors: "" for the whole configuration,
  // "ipam". An Error (code 6) when it is something else.
  static Result<Fields> of(const base::Value& object, std::string path = "");

  // Each: absent, or the value, or an Error with code 6.
  Result<std::optional<std::string>> text(std::string_view key) const;
  Result<std::optional<bool>> boolean(std::string_view key) const;
  Result<std::optional<std::int64_t>> integer(std::string_view key, std::int64_t least, std::int64_t most) const;
  Result<std::optional<net::Ip>> ip(std::string_view key) const;  // "" is absence
  Result<std::vector<std::string>> texts(std::string_view key) const;
  Result<Fields> object(std::string_view key) const;                // absent: empty Fields
  Result<std::vector<Fields>> objects(std::string_view key) const;  // of a list; absent: none
  const base::Value& raw(std::string_view key) const;               // null when absent
  bool has(std::string_view key) const { return !raw(key).is_null(); }
  bool empty() const;  // no member at all

  // "ipam.ranges[0].subnet"
  std::string path_of(std::string_view key) const;
  // An Error with code 7: `<path>: <what>`.
  Error error(std::string_view key, std::string_view what) const;

 private:
  Fields(const base::Value* object, std::string path) : object_(object), path_(std::move(path)) {}
  const base::Value* object_;  // lives as long as the document
  std::string path_;
};

}  // namespace fairlead::cni
