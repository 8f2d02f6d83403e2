#include "base/json.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/strings.h"

namespace fairlead::base {
namespace {

using nlohmann::json;

// Builds a Value tree from nlohmann's SAX events. The lexer does not expose positions to SAX consumers except in
// errors, so the line of a value is found by an iterator that counts the newlines the lexer has consumed. The lexer
// reads one character past a number; a newline there must not count yet, so it counts with the character after it.
struct CountingIterator {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;
  const char* begin;
  const char* at;
  int* line;
  const char& operator*() const { return *at; }
  CountingIterator& operator++() {
    if (at != begin && at[-1] == '\n') ++*line;
    ++at;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const CountingIterator& other) const { return at == other.at; }
};

class TreeBuilder final : public nlohmann::json_sax<json> {
 public:
  TreeBuilder(const int* line, Duplicates duplicates) : line_(line), duplicates_(duplicates) {}

  bool null() override { return add(Value()); }
  bool boolean(bool value) override { return add(Value(value)); }
  bool number_integer(number_integer_t value) override { return add(Value(std::int64_t{value})); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max())) {
      return add(Value(static_cast<double>(value)));
    }
    return add(Value(static_cast<std::int64_t>(value)));
  }
  bool number_float(number_float_t value, const string_t&) override { return add(Value(value)); }
  bool string(string_t& value) override { return add(Value(std::move(value))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Value(Value::Object())); }
  bool start_array(std::size_t) override { return open(Value(Value::Array())); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    Value::Object& members = *open_.back().as_object();
    const auto twin = std::find_if(members.begin(), members.end(), [&](const auto& m) { return m.first == name; });
    if (twin != members.end() && duplicates_ == Duplicates::LastWins) {
      members.erase(twin);
    } else if (twin != members.end()) {
      error_ = cat("line ", *line_, ": member \"", name, "\" appears twice");
      return false;
    }
    keys_.push_back(std::move(name));
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& ex) override {
    std::string_view text = ex.what();  // "[json.exception.parse_error.101] parse error at line 1, ..."
    const std::size_t bracket = text.find("] ");
    error_ = std::string(bracket == text.npos ? text : text.substr(bracket + 2));
    return false;
  }

  Value take() { return std::move(root_); }
  const std::string& error() const { return error_; }

 private:
  static constexpr std::size_t kMaxDepth = 100;

  bool add(Value value) {
    value.line = *line_;
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (Value::Array* items = open_.back().as_array()) {
      items->push_back(std::move(value));
    } else {
      open_.back().as_object()->emplace_back(std::move(keys_.back()), std::move(value));
      keys_.pop_back();
    }
    return true;
  }
  bool open(Value value) {
    if (open_.size() >= kMaxDepth) {
      error_ = cat("line ", *line_, ": nested deeper than ", kMaxDepth);
      return false;
    }
    value.line = *line_;
    open_.push_back(std::move(value));
    return true;
  }
  bool close() {
    Value value = std::move(open_.back());
    open_.pop_back();
    const int line = value.line;
    Value* parent = open_.empty() ? nullptr : &open_.back();
    add(std::move(value));
    // add() stamped the closing line; the opening line is what a person looks for.
    if (parent == nullptr) {
      root_.line = line;
    } else if (Value::Array* items = parent->as_array()) {
      items->back().line = line;
    } else {
      parent->as_object()->back().second.line = line;
    }
    return true;
  }

  const int* line_;
  Duplicates duplicates_;
  Value root_;
  std::vector<Value> open_;
  std::vector<std::string> keys_;
  std::string error_ = "not JSON";
};

nlohmann::ordered_json to_nlohmann(const Value& value) {
  if (const bool* b = value.as_bool()) return *b;
  if (const std::int64_t* i = value.as_int()) return *i;
  if (const double* d = value.as_double()) return *d;
  if (const std::string* s = value.as_string()) return *s;
  if (const Value::Array* items = value.as_array()) {
    auto out = nlohmann::ordered_json::array();
    for (const Value& item : *items) out.push_back(to_nlohmann(item));
    return out;
  }
  if (const Value::Object* members = value.as_object()) {
    auto out = nlohmann::ordered_json::object();
    for (const auto& [name, member] : *members) out[name] = to_nlohmann(member);
    return out;
  }
  return nullptr;
}

}  // namespace

const Value& Value::operator[](std::string_view key) const {
  static const Value kNull;
  if (const Object* members = as_object()) {
    for (const auto& [name, value] : *members) {
      if (name == key) return value;
    }
  }
  return kNull;
}

Value& Value::set(std::string key, Value value) {
  if (is_null()) data_ = Object();
  as_object()->emplace_back(std::move(key), std::move(value));
  return *this;
}

std::string_view Value::type_name() const {
  constexpr std::string_view kNames[] = {"null",     "a boolean", "an integer", "a number",
                                         "a string", "a list",    "an object"};
  return kNames[data_.index()];
}

Result<Value> parse_json(std::string_view text, Duplicates duplicates) {
  int line = 1;
  TreeBuilder builder(&line, duplicates);
  const CountingIterator begin{text.data(), text.data(), &line};
  const CountingIterator end{text.data(), text.data() + text.size(), &line};
  if (!json::sax_parse(begin, end, &builder)) return Error(builder.error());
  return builder.take();
}

std::string to_json(const Value& value, JsonStyle style) {
  return to_nlohmann(value).dump(style == JsonStyle::Indented ? 2 : -1, ' ', false,
                                 nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace fairlead::base
