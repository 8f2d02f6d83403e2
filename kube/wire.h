// wire: reads protobuf wire format (protobuf.dev/programming-guides/encoding) without a schema, over text it does not
// own. For envelopes, whose payload must not be copied; messages themselves go through protobuf-lite.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "base/strings.h"

namespace fairlead::kube::wire {

enum Type : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  std::uint32_t number = 0;
  std::string_view bytes;  // the payload when the type is kBytes, else empty
};

class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}
  bool done() const { return rest_.empty(); }

  // REQUIRES !done().
  Result<Field> next() {
    const std::uint64_t tag = TRY(varint());
    if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff) return Error(base::cat("field number ", tag >> 3));
    Field field{.number = static_cast<std::uint32_t>(tag >> 3), .bytes = {}};
    switch (tag & 7) {
      case kVarint: TRY(varint()); break;
      case kFixed64: TRY(take(8)); break;
      case kFixed32: TRY(take(4)); break;
      case kBytes: {
        const std::uint64_t length = TRY(varint());
        field.bytes = TRY(take(length));
        break;
      }
      default: return Error(base::cat("field ", field.number, ": wire type ", tag & 7));
    }
    return field;
  }

 private:
  Result<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) return Error("ends inside a number");
      const auto byte = static_cast<std::uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7fU} << shift;
      if ((byte & 0x80U) == 0) return value;
    }
    return Error("a number longer than 10 bytes");
  }
  Result<std::string_view> take(std::uint64_t count) {
    if (count > rest_.size()) return Error(base::cat("needs ", count, " bytes where ", rest_.size(), " are left"));
    const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(count));
    rest_.remove_prefix(static_cast<std::size_t>(count));
    return taken;
  }

  std::string_view rest_;
};

}  // namespace fairlead::kube::wire
