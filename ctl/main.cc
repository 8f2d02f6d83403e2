// fairleadctl: asks the agent of this node over its unix socket, and prints what it says.
#include <unistd.h>

#include <cstdio>
#include <variant>

#include "base/json.h"
#include "ctl/http.h"
#include "ctl/options.h"
#include "ctl/tables.h"

namespace fairlead::ctl {
namespace {

Result<std::string> answer(const Options& options) {
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
    std::fprintf(stderr, "error: %s\nhint: is fairlead-agent running on this node? --socket names another socket\n",
                 text.error().message().c_str());
    return 1;
  }
  std::fputs(text->c_str(), stdout);
  return 0;
}

}  // namespace
}  // namespace fairlead::ctl

int main(int argc, char** argv) { return fairlead::ctl::main_with({argv + 1, argv + argc}); }
