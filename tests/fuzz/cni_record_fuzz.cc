// libFuzzer entry for a record that stands under /run: what is accepted is written and read back as it was, and can be
// turned into a DEL or is refused with words.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cni-plugin/journal.h"

namespace fairlead::cni {
namespace {

void check(bool holds) {
  if (!holds) __builtin_trap();
}

void read(std::string_view text) {
  const auto record = parse_record(text);
  if (!record) return check(!record.error().message().empty());
  const auto again = parse_record(to_json(*record));
  check(again.has_value() && *again == *record);
  // "no boot": it is dead, so that nothing is opened.
  if (record->boot_id.empty()) return;  // of no boot: it may live
  const auto del = del_of(kLoopback, *record, World{"/nowhere", record->boot_id + "+"});
  if (!del) return check(!del.error().message().empty());
  check(del->netns.empty() && del->verb == Verb::Del);
  // Whatever it names stays under its folder.
  const World world{"/run/x", ""};
  check(is_record_path(world, record_path(world, "p", del->attachment)));
}

}  // namespace
}  // namespace fairlead::cni

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fairlead::cni::read({reinterpret_cast<const char*>(data), size});
  return 0;
}
