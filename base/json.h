// Value: one tree for JSON and YAML documents, with the source line of each node so that an error can name it.
// nlohmann stays inside json.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace fairlead::base {

class Value {
 public:
  using Array = std::vector<Value>;
  using Object = std::vector<std::pair<std::string, Value>>;  // in source order; keys are unique after parsing

  Value() = default;  // null
  explicit Value(bool value) : data_(value) {}
  explicit Value(std::int64_t value) : data_(value) {}
  explicit Value(int value) : data_(std::int64_t{value}) {}
  explicit Value(std::uint64_t value) : data_(static_cast<std::int64_t>(value)) {}
  explicit Value(double value) : data_(value) {}
  explicit Value(std::string value) : data_(std::move(value)) {}
  explicit Value(std::string_view value) : data_(std::string(value)) {}
  explicit Value(const char* value) : data_(std::string(value)) {}
  explicit Value(Array value) : data_(std::move(value)) {}
  explicit Value(Object value) : data_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  const bool* as_bool() const { return std::get_if<bool>(&data_); }
  const std::int64_t* as_int() const { return std::get_if<std::int64_t>(&data_); }
  const double* as_double() const { return std::get_if<double>(&data_); }
  const std::string* as_string() const { return std::get_if<std::string>(&data_); }
  const Array* as_array() const { return std::get_if<Array>(&data_); }
  const Object* as_object() const { return std::get_if<Object>(&data_); }
  Array* as_array() { return std::get_if<Array>(&data_); }
  Object* as_object() { return std::get_if<Object>(&data_); }

  // Member `key` of an object; a null Value when this is no object or has no such member.
  const Value& operator[](std::string_view key) const;
  // Appends a member; this must be null or an object.
  Value& set(std::string key, Value value);

  // "null", "a boolean", "an integer", "a number", "a string", "a list", "an object": for error messages.
  std::string_view type_name() const;

  int line = 0;  // 1-based; 0 when unknown

  bool operator==(const Value& other) const { return data_ == other.data_; }

 private:
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> data_;
};

// Strict JSON (RFC 8259). `line` is the line of each value. A member name that appears twice is an error, or the last one
// wins, as in Go.
enum class Duplicates { Refuse, LastWins };
Result<Value> parse_json(std::string_view text, Duplicates duplicates = Duplicates::Refuse);

enum class JsonStyle { Compact, Indented };
std::string to_json(const Value& value, JsonStyle style = JsonStyle::Compact);

}  // namespace fairlead::base
