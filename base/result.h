// Result<T>: a value or an Error, never both; dropping one is a compile error.
//
// std::expected is not usable with clang 14 (its libstdc++ guard needs concepts 202002L), so this is a small
// stand-in with the same member names; it can become an alias once both compilers have std::expected.
// An Error is one sentence that grows from the inside out: each caller prepends what it was doing.
#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace fairlead::base {

class [[nodiscard]] Error {
 public:
  explicit Error(std::string message, int errno_value = 0) : message_(std::move(message)), errno_(errno_value) {}

  // "what: strerror(errno_value)"; keeps errno_value for callers that must tell ENOENT from EPERM.
  static Error from_errno(std::string_view what, int errno_value);

  const std::string& message() const { return message_; }
  int errno_value() const { return errno_; }  // 0 when the error did not come from the kernel

  // What a protocol that answers with numbers calls it (a CNI error code, a BGP notification); 0: nobody said.
  int code() const { return code_; }
  Error with_code(int code) && {
    code_ = code;
    return std::move(*this);
  }

  // Prepends "context: ".
  Error with_context(std::string_view context) && {
    message_.insert(0, ": ").insert(0, context);
    return std::move(*this);
  }
  Error with_context(std::string_view context) const& { return Error(*this).with_context(context); }

  bool operator==(const Error&) const = default;

 private:
  std::string message_;
  int errno_ = 0;
  int code_ = 0;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  T& value() & { return *checked(); }
  const T& value() const& { return *checked(); }
  T&& value() && { return std::move(*checked()); }
  T& operator*() & { return *checked(); }
  const T& operator*() const& { return *checked(); }
  T&& operator*() && { return std::move(*checked()); }
  T* operator->() { return checked(); }
  const T* operator->() const { return checked(); }

  Error& error() & { return std::get<1>(state_); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
  T* checked() {
    assert(has_value());
    return std::get_if<0>(&state_);
  }
  const T* checked() const {
    assert(has_value());
    return std::get_if<0>(&state_);
  }
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool has_value() const { return !error_.has_value(); }
  explicit operator bool() const { return has_value(); }
  void value() const { assert(has_value()); }

  Error& error() & { return *error_; }
  const Error& error() const& { return *error_; }
  Error&& error() && { return *std::move(error_); }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace fairlead::base

namespace fairlead {
using base::Error;
using base::Result;
using base::Status;
}  // namespace fairlead

// auto x = TRY(f());  yields the value, or returns the Error from the enclosing function.
#define TRY(expr)                                            \
  __extension__({                                            \
    auto&& try_result_ = (expr);                             \
    if (!try_result_) return std::move(try_result_).error(); \
    std::move(try_result_).value();                          \
  })

// As TRY, with "context: " prepended to the Error.
#define TRY_CONTEXT(expr, context)                                                 \
  __extension__({                                                                  \
    auto&& try_result_ = (expr);                                                   \
    if (!try_result_) return std::move(try_result_).error().with_context(context); \
    std::move(try_result_).value();                                                \
  })
