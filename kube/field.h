// Field: a place in a document while it is decoded; knows its path and line, so that every complaint names them.
//
// A Field refers to its parent, which must be a named object that lives longer; nothing is built unless an error is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "kube/decode.h"
#include "net/ip.h"

namespace fairlead::kube {

bool same_but_for_case(std::string_view a, std::string_view b);  // ASCII

class Field {
 public:
  Field(const base::Value& root, Strictness strictness) : value_(root), strictness_(strictness) {}
  Field(const Field&) = delete;
  Field& operator=(const Field&) = delete;

  Field member(std::string_view name) const& { return {value_[name], *this, name, 0}; }
  Field member(std::string_view name) const&& = delete;  // the parent would dangle

  const base::Value& value() const { return value_; }
  bool strict() const { return strictness_ == Strictness::Strict; }
  Strictness strictness() const { return strictness_; }
  bool absent() const { return value_.is_null(); }
  int line() const;          // of the value; of the nearest parent when it is absent
  std::string path() const;  // "spec.ports[0].port"

  // "line 12: spec.ports[0].port: <what>"
  Error error(std::string_view what) const;
  // "...: 70000 is not <expected>"
  Error not_a(std::string_view expected) const;

  // Absent is fine; otherwise it must be an object. Strict: none of its members may be spelt like one of `known` but
  // for case. `known` is every field the API knows, ours or not.
  Status object(std::initializer_list<std::string_view> known) const;

  // Absent reads as "", false-like nothing, or no items; another type than asked for is an error.
  Result<std::string> text() const;
  Result<std::optional<bool>> boolean() const;
  Result<std::optional<std::int64_t>> integer(std::int64_t lowest, std::int64_t highest,
                                              std::string_view expected) const;
  Result<std::uint16_t> port() const;           // 0 when absent; else 1-65535
  Result<std::uint16_t> optional_port() const;  // 0 stands for absent, as in nodePort

  // Nothing when blank, or when it is invalid and Lenient.
  Result<std::optional<net::Ip>> ip() const;
  Result<std::optional<net::Prefix>> prefix() const;

  // `fallback` when absent or "". An unknown word is an error in Strict, nothing in Lenient.
  template <typename Enum, std::size_t N>
  Result<std::optional<Enum>> choice(const std::pair<std::string_view, Enum> (&allowed)[N], Enum fallback) const {
    const std::string word = TRY(text());
    if (word.empty()) return std::optional<Enum>(fallback);
    for (const auto& [name, result] : allowed) {
      if (name == word) return std::optional<Enum>(result);
    }
    if (!strict()) return std::optional<Enum>();
    std::string expected = "allowed (";
    for (const auto& entry : allowed) {
      if (expected.back() != '(') expected += ", ";
      expected += entry.first;
    }
    return not_a(expected + ")");
  }

  // visit(const Field& item) -> Status, for each item of a list.
  template <typename Visit>
  Status each(Visit visit) const {
    if (absent()) return {};
    const base::Value::Array* items = value_.as_array();
    if (items == nullptr) return not_a("a list");
    for (std::size_t i = 0; i < items->size(); ++i) {
      Status status = visit(Field((*items)[i], *this, {}, i));
      if (!status) return status;
    }
    return {};
  }

 private:
  Field(const base::Value& value, const Field& parent, std::string_view name, std::size_t index)
      : value_(value), parent_(&parent), name_(name), index_(index), strictness_(parent.strictness_) {}

  const base::Value& value_;
  const Field* parent_ = nullptr;
  std::string_view name_;  // empty: item `index_` of a list
  std::size_t index_ = 0;
  Strictness strictness_;
};

}  // namespace fairlead::kube
