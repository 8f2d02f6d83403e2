// libFuzzer entry for portmap's conditions: the family, then words, a line each. Beyond not crashing: what is
// understood is the same when its text is read again, and makes rules.
#include <cstdint>

#include "base/strings.h"
#include "cni-plugin/conditions.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fairlead;
  if (size == 0) return 0;
  const net::Family family = data[0] % 2 == 0 ? net::Family::V4 : net::Family::V6;
  std::vector<std::string> words;
  for (const auto word : base::split({reinterpret_cast<const char*>(data) + 1, size - 1}, '\n'))
    words.emplace_back(word);
  const auto parsed = cni::parse_conditions(words, family);
  if (!parsed) return 0;
  (void)cni::exprs_of(*parsed, family);
  const auto again = cni::parse_conditions({cni::to_string(*parsed)}, family);
  // A name of an interface with a space or a quote in it does not survive being written.
  if (again && *again != *parsed) {
    for (const auto& condition : *parsed) {
      if (condition.input.find_first_of(" \"*") != std::string::npos) return 0;
    }
    __builtin_trap();
  }
  return 0;
}
