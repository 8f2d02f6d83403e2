// fairleadctl: asks the agent of this node over its unix socket, or the kernel, and prints what it says.
#include <unistd.h>

#include <cstdio>
#include <variant>

#include "base/json.h"
#include "ctl/dump.h"
#include "ctl/http.h"
#include "ctl/options.h"
#include "ctl/tables.h"

namespace fairlead::ctl {
namespace {

constexpr const char* kAskAgent = "is fairlead-agent running on this node? --socket names another socket";
constexpr const char* kAskKernel =
    "run it as root on the node, in the node's network namespace; --instance names other tables, and an agent on "
    "another dataplane has none";

Result<std::string> answer(const Options& options) {
  if (options.command == Command::DumpNftables) return dump_nftables(options);
  const bool services = options.command == Command::Services;
  std::string path = services ? "/v1/services" : "/v1/status";
  if (!options.only_namespace.empty()) path += "?namespace=" + options.only_namespace;
  std::string body = TRY(get(options.socket, path));
  if (options.output == Output::Json) return body.ends_with('\n') ? body : body + "\n";
  const base::Value value = TRY_CONTEXT(base::parse_json(body), "the agent's answer");
  const Colour colour = ::isatty(STDOUT_FILENO) == 1 ? Colour::On : Colour::Off;
  return services ? services_table(value, colour) : status_text(value, colour);
}

int main_with(const std::vector<std::string>& arguments) {
  const auto parsed = parse_options(arguments);
  if (const auto* stop = std::get_if<Stop>(&parsed)) {
    std::fputs(stop->text.c_str(), stop->exit_code == 0 ? stdout : stderr);
    return stop->exit_code;
  }
  const Options& options = std::get<Options>(parsed);
  if (options.command == Command::Version) {
    std::puts("fairleadctl " FAIRLEAD_VERSION);
    return 0;
  }
  const auto text = answer(options);
  if (!text) {
    const char* hint = options.command == Command::DumpNftables ? kAskKernel : kAskAgent;
    std::fprintf(stderr, "error: %s\nhint: %s\n", text.error().message().c_str(), hint);
    return 1;
  }
  std::fputs(text->c_str(), stdout);
  return 0;
}

}  // namespace
}  // namespace fairlead::ctl

int main(int argc, char** argv) { return fairlead::ctl::main_with({argv + 1, argv + argc}); }
