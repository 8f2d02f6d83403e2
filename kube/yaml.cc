#include "kube/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include "base/strings.h"

namespace fairlead::kube {
namespace {

using base::Value;

constexpr std::size_t kMaxDepth = 100;
// A node weighs one, plus one per this many bytes of text; aliases weigh what they expand to.
constexpr std::size_t kBytesPerWeight = 64;
constexpr std::size_t kMaxWeight = std::size_t{4} << 20;

// Leaves the event stream; never leaves this file.
struct Refused {
  std::string message;
};

[[noreturn]] void refuse(int line, std::string_view what) { throw Refused{base::cat("line ", line, ": ", what)}; }

// YAML 1.2.2 section 10.3.2, integers: decimal, 0o and 0x.
std::optional<Value> core_integer(std::string_view text) {
  const bool negative = text.front() == '-';
  std::string_view digits = text;
  if (negative || digits.front() == '+') digits.remove_prefix(1);
  int radix = 10;
  if (digits == text && (digits.starts_with("0x") || digits.starts_with("0o"))) {
    radix = digits[1] == 'x' ? 16 : 8;
    digits.remove_prefix(2);
  }
  std::uint64_t magnitude = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), magnitude, radix);
  if (digits.empty() || end != digits.data() + digits.size()) return std::nullopt;
  constexpr auto kHighest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (error != std::errc() || magnitude > kHighest) {
    if (radix != 10) return std::nullopt;
    double number = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), number);
    return Value(negative ? -number : number);
  }
  const auto number = static_cast<std::int64_t>(magnitude);
  return Value(negative ? -number : number);
}

std::optional<Value> core_float(std::string_view text) {
  const bool negative = text.front() == '-';
  std::string_view digits = text;
  if (negative || digits.front() == '+') digits.remove_prefix(1);
  if (digits == ".inf" || digits == ".Inf" || digits == ".INF") {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    return Value(negative ? -kInfinity : kInfinity);
  }
  if (text == ".nan" || text == ".NaN" || text == ".NAN") return Value(std::numeric_limits<double>::quiet_NaN());
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const std::size_t first = !digits.empty() && digits.front() == '.' ? 1 : 0;
  if (digits.size() <= first || !is_digit(digits[first])) return std::nullopt;  // "inf" and "nan" are words
  double number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (end != digits.data() + digits.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) return std::nullopt;
  return Value(negative ? -number : number);
}

Value plain_scalar(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return Value();
  if (text == "true" || text == "True" || text == "TRUE") return Value(true);
  if (text == "false" || text == "False" || text == "FALSE") return Value(false);
  if (auto number = core_integer(text)) return std::move(*number);
  if (auto number = core_float(text)) return std::move(*number);
  return Value(text);
}

// yaml-cpp gives "?" to plain scalars and "!" to quoted ones.
Value scalar(int line, const std::string& tag, const std::string& text) {
  if (tag == "!" || tag == "tag:yaml.org,2002:str") return Value(text);
  if (tag.empty() || tag == "?") return plain_scalar(text);
  const auto of_type = [&](bool right) {
    if (!right) refuse(line, base::cat("\"", text, "\" is not what its tag ", tag, " says"));
  };
  Value value = plain_scalar(text);
  if (tag == "tag:yaml.org,2002:int") {
    of_type(value.as_int() != nullptr);
  } else if (tag == "tag:yaml.org,2002:bool") {
    of_type(value.as_bool() != nullptr);
  } else if (tag == "tag:yaml.org,2002:null") {
    of_type(value.is_null());
  } else if (tag == "tag:yaml.org,2002:float") {
    of_type(value.as_double() != nullptr || value.as_int() != nullptr);
  } else {
    refuse(line, base::cat("tag ", tag, " is not known here"));
  }
  return value;
}

class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(DuplicateKeys duplicates) : duplicates_(duplicates) {}

  std::vector<Value> take() { return std::move(documents_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    // yaml-cpp 0.7 reads an empty document, for ever, before a token that no node can begin with (", [a]").
    if (document_at_ == mark.pos) refuse(line_of(mark), "not YAML: nothing can begin with this");
    document_at_ = mark.pos;
    open_.clear();
    anchors_.clear();
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { leaf(mark, anchor, Value(), false); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    // As in JSON, a key is text: 80 and true are "80" and "true" there.
    const bool is_key = !open_.empty() && open_.back().value.as_object() != nullptr && !open_.back().key;
    leaf(mark, anchor, is_key ? Value(text) : scalar(line_of(mark), tag, text), tag == "?" && text == "<<");
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto it = anchors_.find(anchor);
    if (it == anchors_.end()) refuse(line_of(mark), "an alias to a node that contains it");
    check_depth(line_of(mark), it->second.depth);
    weigh(line_of(mark), it->second.weight);
    add(Value(it->second.value), line_of(mark), false);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, anchor, Value(Value::Array()));
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, anchor, Value(Value::Object()));
  }
  void OnMapEnd() override { close(); }

 private:
  struct Anchored {
    Value value;
    std::size_t weight = 0;
    std::size_t depth = 0;
  };
  // A collection that is being read.
  struct Open {
    Value value;
    YAML::anchor_t anchor = 0;
    std::size_t weight_before = 0;
    std::size_t depth = 1;           // levels from here to its deepest leaf, aliases expanded
    std::optional<std::string> key;  // of the member whose value comes next
    bool key_is_merge = false;
    std::vector<Value> merges;  // "<<" values: their members count where the map has none of its own
    std::map<std::string, std::size_t, std::less<>> seen;  // member -> its line, to name duplicates
  };

  static int line_of(const YAML::Mark& mark) { return mark.line + 1; }

  void weigh(int line, std::size_t more) {
    weight_ += more;
    if (weight_ > kMaxWeight) refuse(line, "the documents are too large, or their aliases expand to too much");
  }

  // `levels` more below the open ones; bounds the recursion of whoever walks or destroys the tree.
  void check_depth(int line, std::size_t levels) {
    if (open_.size() + levels > kMaxDepth) refuse(line, base::cat("nested deeper than ", kMaxDepth));
    if (!open_.empty()) open_.back().depth = std::max(open_.back().depth, levels + 1);
  }

  void leaf(const YAML::Mark& mark, YAML::anchor_t anchor, Value value, bool merge_word) {
    const std::string* text = value.as_string();
    const std::size_t weight = 1 + (text == nullptr ? 0 : text->size() / kBytesPerWeight);
    weigh(line_of(mark), weight);
    value.line = line_of(mark);
    if (anchor != 0) anchors_[anchor] = {value, weight, 0};
    add(std::move(value), line_of(mark), merge_word);
  }

  void open(const YAML::Mark& mark, YAML::anchor_t anchor, Value value) {
    check_depth(line_of(mark), 1);
    value.line = line_of(mark);
    open_.emplace_back();
    open_.back().value = std::move(value);
    open_.back().anchor = anchor;
    open_.back().weight_before = weight_;
    weigh(line_of(mark), 1);
  }

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    if (!open_.empty()) open_.back().depth = std::max(open_.back().depth, done.depth + 1);
    for (const Value& merge : done.merges) merge_into(&done, merge);
    if (done.anchor != 0) anchors_[done.anchor] = {done.value, weight_ - done.weight_before, done.depth};
    const int line = done.value.line;
    add(std::move(done.value), line, false);
  }

  // A finished value goes where it belongs: the document, the list, or the map as a key or as a value.
  void add(Value value, int line, bool merge_word) {
    if (open_.empty()) {
      if (!value.is_null()) documents_.push_back(std::move(value));
      return;
    }
    Open& parent = open_.back();
    if (Value::Array* items = parent.value.as_array()) {
      items->push_back(std::move(value));
    } else if (!parent.key) {
      begin_member(&parent, value, line, merge_word);
    } else if (parent.key_is_merge) {
      parent.key.reset();
      add_merge(&parent, std::move(value));
    } else {
      parent.value.as_object()->emplace_back(std::move(*parent.key), std::move(value));
      parent.key.reset();
    }
  }

  void begin_member(Open* map, const Value& key, int line, bool merge_word) {
    const std::string* name = key.as_string();
    if (name == nullptr) refuse(line, base::cat("a key must be text, not ", key.type_name()));
    const auto [it, added] = map->seen.emplace(*name, static_cast<std::size_t>(line));
    if (!added && duplicates_ == DuplicateKeys::Refuse) {
      refuse(line, base::cat("key \"", *name, "\" appears twice, first in line ", it->second));
    }
    if (!added) std::erase_if(*map->value.as_object(), [&](const auto& member) { return member.first == *name; });
    map->key = *name;
    map->key_is_merge = merge_word;
  }

  // https://yaml.org/type/merge.html: one map, or a list of maps of which the first to name a key wins.
  void add_merge(Open* map, Value value) {
    if (Value::Array* items = value.as_array()) {
      for (Value& item : *items) add_merge(map, std::move(item));
    } else if (value.as_object() != nullptr) {
      map->merges.push_back(std::move(value));
    } else {
      refuse(value.line, base::cat("\"<<\" merges maps, not ", value.type_name()));
    }
  }

  void merge_into(Open* map, const Value& from) {
    for (const auto& [name, value] : *from.as_object()) {
      const bool added = map->seen.emplace(name, 0).second;
      if (added) map->value.as_object()->emplace_back(name, value);
    }
  }

  const DuplicateKeys duplicates_;
  std::vector<Value> documents_;
  std::optional<int> document_at_;  // where the last one began
  std::vector<Open> open_;
  std::map<YAML::anchor_t, Anchored> anchors_;
  std::size_t weight_ = 0;
};

}  // namespace

Result<std::vector<Value>> parse_yaml(std::string_view text, DuplicateKeys duplicates) {
  TreeBuilder builder(duplicates);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Refused& refused) {
    return Error(refused.message);
  } catch (const YAML::Exception& exception) {
    return Error(base::cat("line ", exception.mark.line + 1, ": not YAML: ", exception.msg));
  }
  return builder.take();
}

}  // namespace fairlead::kube
