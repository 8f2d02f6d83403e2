#include "cni-plugin/fields.h"

#include "base/strings.h"
#include "cni-plugin/call.h"

namespace fairlead::cni {
namespace {

const base::Value kNull;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_but_for_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

// What stands there, in words for an error; long texts are cut.
std::string shown(const base::Value& value) {
  constexpr std::size_t kShown = 100;
  std::string text = base::to_json(value);
  if (text.size() > kShown) text = text.substr(0, kShown) + "...";
  return text;
}

Error wrong_type(const std::string& path, const base::Value& value, std::string_view allowed) {
  return failure(code::kDecode, path.empty() ? std::string("the configuration") : path, ": must be ", allowed, ", not ",
                 value.type_name(), " (", shown(value), ")");
}

}  // namespace

Result<Fields> Fields::of(const base::Value& object, std::string path) {
  if (!object.is_null() && object.as_object() == nullptr) return wrong_type(path, object, "an object");
  return Fields(&object, std::move(path));
}

const base::Value& Fields::raw(std::string_view key) const {
  const base::Value& exact = (*object_)[key];
  if (!exact.is_null() || object_->is_null()) return exact;
  const base::Value* found = &kNull;
  for (const auto& [name, value] : *object_->as_object()) {
    if (!value.is_null() && same_but_for_case(name, key)) found = &value;
  }
  return *found;
}

bool Fields::empty() const { return object_->is_null() || object_->as_object()->empty(); }

Result<std::optional<std::string>> Fields::text(std::string_view key) const {
  const base::Value& value = raw(key);
  if (value.is_null()) return std::optional<std::string>();
  if (value.as_string() == nullptr) return wrong_type(path_of(key), value, "a string");
  return std::optional(*value.as_string());
}

Result<std::optional<bool>> Fields::boolean(std::string_view key) const {
  const base::Value& value = raw(key);
  if (value.is_null()) return std::optional<bool>();
  if (value.as_bool() == nullptr) return wrong_type(path_of(key), value, "true or false");
  return std::optional(*value.as_bool());
}

Result<std::optional<std::int64_t>> Fields::integer(std::string_view key, std::int64_t least, std::int64_t most) const {
  const base::Value& value = raw(key);
  if (value.is_null()) return std::optional<std::int64_t>();
  const std::int64_t* number = value.as_int();
  if (number == nullptr) return wrong_type(path_of(key), value, "an integer");
  if (*number < least || *number > most)
    return failure(code::kDecode, path_of(key), ": must be from ", least, " to ", most, ", not ", *number);
  return std::optional(*number);
}

Result<std::optional<net::Ip>> Fields::ip(std::string_view key) const {
  const auto written = TRY(text(key));
  if (!written || written->empty()) return std::optional<net::Ip>();
  auto address = net::Ip::parse(*written);
  if (!address) return std::move(address).error().with_context(path_of(key)).with_code(code::kDecode);
  return std::optional(*address);
}

Result<std::vector<std::string>> Fields::texts(std::string_view key) const {
  const base::Value& value = raw(key);
  std::vector<std::string> out;
  if (value.is_null()) return out;
  if (value.as_array() == nullptr) return wrong_type(path_of(key), value, "a list of strings");
  for (const base::Value& item : *value.as_array()) {
    if (item.as_string() == nullptr) return wrong_type(base::cat(path_of(key), "[", out.size(), "]"), item, "a string");
    out.push_back(*item.as_string());
  }
  return out;
}

Result<Fields> Fields::object(std::string_view key) const { return of(raw(key), path_of(key)); }

Result<std::vector<Fields>> Fields::objects(std::string_view key) const {
  const base::Value& value = raw(key);
  std::vector<Fields> out;
  if (value.is_null()) return out;
  if (value.as_array() == nullptr) return wrong_type(path_of(key), value, "a list of objects");
  for (const base::Value& item : *value.as_array())
    out.push_back(TRY(of(item, base::cat(path_of(key), "[", out.size(), "]"))));
  return out;
}

std::string Fields::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : base::cat(path_, ".", key);
}

Error Fields::error(std::string_view key, std::string_view what) const {
  return failure(code::kInvalidConfig, path_of(key), ": ", what);
}

}  // namespace fairlead::cni
