// libFuzzer entry for what a system bus sends, and (from the same bytes) for DBUS_SYSTEM_BUS_ADDRESS. Beyond not
// crashing: a message is as long as it says, is not there before its last byte, and is the same behind others.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/strings.h"
#include "net/dbus.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fairlead::net;
  using fairlead::base::cat;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const std::string& path : dbus::system_bus_paths(cat("unix:path=/", std::string(bytes).c_str()).c_str())) {
    if (path.size() > size + 1) __builtin_trap();
  }
  const auto message = dbus::decode(bytes);
  if (!message || !*message) return 0;
  const std::size_t length = (*message)->size;
  if (length > size || length == 0) __builtin_trap();
  const auto cut = dbus::decode(bytes.substr(0, length - 1));
  if (!cut || *cut) __builtin_trap();
  const auto alone = dbus::decode(bytes.substr(0, length));
  if (!alone || !*alone || (*alone)->text != (*message)->text || (*alone)->error != (*message)->error ||
      (*alone)->reply_to != (*message)->reply_to || (*alone)->truth != (*message)->truth)
    __builtin_trap();
  return 0;
}
