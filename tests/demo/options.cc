#include "tests/demo/options.h"

#include "base/strings.h"

namespace fairlead::demo {

const char* const kUsage = R"(usage: ./dev demo [OPTIONS]     (fairlead-demo [OPTIONS])
A cluster of network namespaces, three nodes with an agent each, balanced before your eyes. Half a minute, as root.

  --api                            the agents follow a test API server over TLS, not a directory of manifests
  --dataplane auto|ebpf|nftables   what the agents start with (default: auto); later they switch to the other
  --keep                           leave it standing at the end and print how to look inside
  --remove                         remove what --keep left standing
  --help
Exit status: 0 every promise was kept, 1 one was broken or something failed, 2 usage, 130 interrupted.
)";

Result<Options> parse_options(const std::vector<std::string>& arguments) {
  Options options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--api") {
      options.api = true;
    } else if (argument == "--keep") {
      options.keep = true;
    } else if (argument == "--remove") {
      options.remove = true;
    } else if (argument == "--help" || argument == "-h") {
      options.help = true;
    } else if (argument == "--dataplane" || argument.rfind("--dataplane=", 0) == 0) {
      const auto equals = argument.find('=');
      const bool next = equals == argument.npos && i + 1 < arguments.size();
      options.dataplane = equals != argument.npos ? argument.substr(equals + 1) : next ? arguments[++i] : "";
      if (options.dataplane != "auto" && options.dataplane != "ebpf" && options.dataplane != "nftables") {
        return Error(base::cat("--dataplane: \"", options.dataplane, "\" is not allowed: use auto, ebpf or nftables"));
      }
    } else {
      return Error(base::cat("\"", argument, "\" is no option of the demo"));
    }
  }
  return options;
}

}  // namespace fairlead::demo
