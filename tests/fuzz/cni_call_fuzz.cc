// libFuzzer entry for what a runtime hands a CNI plugin: lines NAME=value up to an empty one, then stdin. Beyond not
// crashing: an accepted call is read again from what a record keeps of it, and a refusal is JSON with a code.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cni-plugin/dispatch.h"
#include "cni-plugin/invocation.h"

namespace fairlead::cni {
namespace {

void check(bool holds) {
  if (!holds) __builtin_trap();
}

Environment take_environment(std::string_view& text) {
  Environment environment;
  for (;;) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    if (line.empty()) return environment;
    const std::size_t equals = line.find('=');
    // A variable ends at its first zero.
    if (equals != line.npos)
      environment[std::string(line.substr(0, equals))] = std::string(line.substr(equals + 1)).c_str();
  }
}

void check_refusal(const Error& error) {
  const auto json = base::parse_json(error_json(error, "1.1.0"));
  check(json && (*json)["code"].as_int() != nullptr && (*json)["msg"].as_string() != nullptr);
}

void read(std::string_view text) {
  const Environment environment = take_environment(text);
  for (const Plugin* plugin : plugins()) {
    const auto named = read_environment(*plugin, environment);
    if (!named) return check_refusal(named.error());
    const auto call = read_config(*plugin, *named, std::string(text));
    if (!call) return check_refusal(call.error());
    const auto again = read_environment(*plugin, environment_of(*call));
    check(again.has_value() && again->args == named->args && again->path == named->path);
    const auto twice = read_config(*plugin, *again, call->stdin_text);
    check(twice.has_value() && twice->attachment == call->attachment && twice->config == call->config);
    if (call->previous) {
      const auto written = to_json(*call->previous, "1.1.0");
      check(written.has_value());
    }
    if (plugin == &kStatic && call->verb == Verb::Add) (void)kStatic.add(*call, World()).has_value();
  }
}

}  // namespace
}  // namespace fairlead::cni

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fairlead::cni::read({reinterpret_cast<const char*>(data), size});
  return 0;
}
