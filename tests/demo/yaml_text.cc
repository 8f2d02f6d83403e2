#include "tests/demo/yaml_text.h"

#include <string_view>

#include "base/strings.h"

namespace fairlead::demo {
namespace {

using base::Value;

bool is_block(const Value& value) {
  return (value.as_object() != nullptr && !value.as_object()->empty()) ||
         (value.as_array() != nullptr && !value.as_array()->empty());
}

// Plain when no reader could take it for something else; else as JSON, which is YAML.
std::string scalar(const Value& value) {
  const std::string* text = value.as_string();
  if (text == nullptr || text->empty()) return base::to_json(value);
  const bool letter_first = ((*text)[0] >= 'a' && (*text)[0] <= 'z') || ((*text)[0] >= 'A' && (*text)[0] <= 'Z');
  const bool plain = letter_first && text->find_first_not_of(
                                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789-./_") == std::string::npos;
  for (const std::string_view word : {"true", "false", "null", "yes", "no", "on", "off", "True", "False", "Null"}) {
    if (*text == word) return base::to_json(value);
  }
  return plain ? *text : base::to_json(value);
}

void write_block(const Value& value, const std::string& indent, std::string& out);

void write_member(const Value& value, const std::string& indent, std::string& out) {
  if (!is_block(value)) {
    out += base::cat(" ", scalar(value), "\n");
    return;
  }
  out += "\n";
  write_block(value, value.as_array() != nullptr ? indent : indent + "  ", out);
}

void write_block(const Value& value, const std::string& indent, std::string& out) {
  if (const Value::Object* object = value.as_object()) {
    for (const auto& [key, member] : *object) {
      out += base::cat(indent, scalar(Value(key)), ":");
      write_member(member, indent, out);
    }
    return;
  }
  for (const Value& item : *value.as_array()) {
    std::string inner;
    if (is_block(item)) {
      write_block(item, indent + "  ", inner);
      inner.replace(0, indent.size() + 1, indent + "-");
    } else {
      inner = base::cat(indent, "- ", scalar(item), "\n");
    }
    out += inner;
  }
}

}  // namespace

std::string to_yaml(const std::vector<Value>& documents) {
  std::string out;
  for (const Value& document : documents) {
    if (!out.empty()) out += "---\n";
    if (is_block(document)) {
      write_block(document, "", out);
    } else {
      out += scalar(document) + "\n";
    }
  }
  return out;
}

}  // namespace fairlead::demo
