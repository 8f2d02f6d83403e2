#include "kube/field.h"

#include <algorithm>

#include "base/strings.h"

namespace fairlead::kube {
namespace {

constexpr std::size_t kLongestShown = 60;

// The value as a person would recognise it in the file.
std::string show(const base::Value& value) {
  if (const std::string* text = value.as_string()) {
    if (text->size() <= kLongestShown) return base::cat("\"", *text, "\"");
    return base::cat("\"", std::string_view(*text).substr(0, kLongestShown), "...\"");
  }
  if (const auto* integer = value.as_int()) return base::cat(*integer);
  if (const auto* number = value.as_double()) return base::cat(*number);
  if (const auto* boolean = value.as_bool()) return base::cat(*boolean);
  return value.is_null() ? "an absent value" : std::string(value.type_name());
}

}  // namespace

bool same_but_for_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

int Field::line() const {
  const Field* at = this;
  while (at->value_.line == 0 && at->parent_ != nullptr) at = at->parent_;
  return at->value_.line;
}

std::string Field::path() const {
  if (parent_ == nullptr) return {};
  std::string out = parent_->path();
  if (name_.empty()) return base::cat(out, "[", index_, "]");
  return out.empty() ? std::string(name_) : base::cat(out, ".", name_);
}

Error Field::error(std::string_view what) const {
  std::string out;
  if (const int at = line(); at != 0) out = base::cat("line ", at, ": ");
  if (const std::string where = path(); !where.empty()) base::append(out, base::cat(where, ": "));
  return Error(out.append(what));
}

Error Field::not_a(std::string_view expected) const { return error(base::cat(show(value_), " is not ", expected)); }

Status Field::object(std::initializer_list<std::string_view> known) const {
  if (absent()) return {};
  const base::Value::Object* members = value_.as_object();
  if (members == nullptr) return not_a("an object");
  if (!strict()) return {};
  for (const auto& [name, value] : *members) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    for (const std::string_view right : known) {
      if (same_but_for_case(name, right)) {
        return Field(value, *this, name, 0).error(base::cat("is not a field; it is spelt ", right));
      }
    }
  }
  return {};
}

Result<std::string> Field::text() const {
  if (absent()) return std::string();
  const std::string* text = value_.as_string();
  if (text == nullptr) return not_a("a string");
  return *text;
}

Result<std::optional<bool>> Field::boolean() const {
  if (absent()) return std::optional<bool>();
  const bool* value = value_.as_bool();
  if (value == nullptr) return not_a("a boolean (true, false)");
  return std::optional<bool>(*value);
}

Result<std::optional<std::int64_t>> Field::integer(std::int64_t lowest, std::int64_t highest,
                                                   std::string_view expected) const {
  if (absent()) return std::optional<std::int64_t>();
  const std::int64_t* value = value_.as_int();
  if (value == nullptr || *value < lowest || *value > highest) {
    return not_a(base::cat(expected, " (", lowest, "-", highest, ")"));
  }
  return std::optional<std::int64_t>(*value);
}

Result<std::uint16_t> Field::port() const {
  const auto number = TRY(integer(1, 65535, "a port"));
  return static_cast<std::uint16_t>(number.value_or(0));
}

Result<std::uint16_t> Field::optional_port() const {
  if (const std::int64_t* value = value_.as_int(); value != nullptr && *value == 0) return std::uint16_t{0};
  return port();
}

Result<std::optional<net::Ip>> Field::ip() const {
  const std::string text = TRY(this->text());
  const std::string_view trimmed = strict() ? std::string_view(text) : base::trim(text);
  if (trimmed.empty()) return std::optional<net::Ip>();
  const auto ip = strict() ? net::Ip::parse(trimmed) : net::Ip::parse_sloppy(trimmed);
  if (!ip && strict()) return not_a("an IPv4 or IPv6 address");
  if (!ip) return std::optional<net::Ip>();
  return std::optional<net::Ip>(*ip);
}

Result<std::optional<net::Prefix>> Field::prefix() const {
  const std::string text = TRY(this->text());
  const std::string_view trimmed = base::trim(text);
  if (trimmed.empty()) return std::optional<net::Prefix>();
  const auto prefix = strict() ? net::Prefix::parse(trimmed) : net::Prefix::parse_sloppy(trimmed);
  if (!prefix && strict()) return not_a("a prefix (address/bits)");
  if (!prefix) return std::optional<net::Prefix>();
  return std::optional<net::Prefix>(*prefix);
}

}  // namespace fairlead::kube
