#include "agent/yaml_text.h"

#include <algorithm>

#include "base/strings.h"

namespace fairlead::agent {
namespace {

using base::Value;

// Without quotes only what no version of YAML takes for anything but text: 1.1 has "yes", "on" and "1:30" too.
bool is_plain(const std::string& text) {
  constexpr std::string_view kWords[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"};
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  const auto letter = [&](char c) { return lower(c) >= 'a' && lower(c) <= 'z'; };
  const auto good = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '/' || c == '-'; };
  if (text.empty() || !(letter(text.front()) || text.front() == '/')) return false;
  if (!std::all_of(text.begin(), text.end(), good)) return false;
  std::string word = text;
  std::transform(word.begin(), word.end(), word.begin(), lower);
  return std::find(std::begin(kWords), std::end(kWords), word) == std::end(kWords);
}

std::string scalar(const Value& value) {
  const std::string* text = value.as_string();
  return text != nullptr && is_plain(*text) ? *text : base::to_json(value);  // JSON's scalars are YAML's
}

void write(const Value& value, const std::string& indent, std::string& out) {
  const auto write_nested = [&](const Value& nested, std::string_view head) {
    const bool object = nested.as_object() != nullptr && !nested.as_object()->empty();
    const bool list = nested.as_array() != nullptr && !nested.as_array()->empty();
    out += base::cat(indent, head);
    if (!object && !list) {
      out += base::cat(" ", scalar(nested), "\n");
      return;
    }
    out += "\n";
    write(nested, list ? indent : indent + "  ", out);
  };
  if (const Value::Object* members = value.as_object()) {
    for (const auto& [name, member] : *members) write_nested(member, scalar(Value(name)) + ":");
  } else if (const Value::Array* items = value.as_array()) {
    for (const Value& item : *items) write_nested(item, "-");
  }
}

}  // namespace

std::string to_yaml(const Value& value) {
  std::string out;
  write(value, "", out);
  return out;
}

}  // namespace fairlead::agent
