// libFuzzer entry for what a kernel says of a table of iptables-legacy: the family, where its chains are, its bytes.
// Beyond not crashing: what was read can be laid out, and is the same when it is read again.
#include <cstdint>
#include <cstring>

#include "net/xtables/table.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fairlead::net;
  xtables::Places places;
  const std::size_t head = 1 + 4 + sizeof places.hook_entry + sizeof places.underflow;
  if (size < head) return 0;
  const Family family = data[0] % 2 == 0 ? Family::V4 : Family::V6;
  std::memcpy(&places.valid_hooks, data + 1, 4);
  std::memcpy(places.hook_entry.data(), data + 5, sizeof places.hook_entry);
  std::memcpy(places.underflow.data(), data + 5 + sizeof places.hook_entry, sizeof places.underflow);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + head, size - head);
  const auto table = xtables::Table::parse(family, places, bytes);
  if (!table) return 0;
  const auto image = xtables::lay_out(*table);
  if (!image) __builtin_trap();
  const auto again = xtables::Table::parse(family, image->places, image->bytes);
  if (!again || again->chains.size() != table->chains.size()) __builtin_trap();
  return 0;
}
