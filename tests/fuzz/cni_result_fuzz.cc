// libFuzzer entry for what another plugin says it did: what is accepted is written in every version that can say it,
// and read back as it was in the newest.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cni-plugin/net_result.h"

namespace fairlead::cni {
namespace {

void check(bool holds) {
  if (!holds) __builtin_trap();
}

void read(std::string_view text) {
  const auto json = base::parse_json(text, base::Duplicates::LastWins);
  if (!json) return;
  const auto result = parse_result(*json, "1.1.0");
  if (!result) return check(!result.error().message().empty());
  for (const std::string_view version : kVersions) {
    const auto written = to_json(*result, version);
    if (!written) {
      check(version < "0.3.0" && result->ips.empty());
      continue;
    }
    const auto again = parse_result(*written, version);
    check(again.has_value());
    if (version == "1.1.0") check(*again == *result);
  }
}

}  // namespace
}  // namespace fairlead::cni

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fairlead::cni::read({reinterpret_cast<const char*>(data), size});
  return 0;
}
