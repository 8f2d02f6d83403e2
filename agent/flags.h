// flags: a command line as Go's pflag reads it, since manifests written for kube-proxy are: "--flag=value",
// "--flag value", "--flag" for booleans, "-v4", "-v 4", "-v=4", '_' for '-', "--" before words. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fairlead::agent {

struct Flag {
  std::string_view name;   // without the dashes
  std::string_view value;  // stands for the value in help ("FILE"); empty: a boolean, and naming it is enough
  std::string_view help;
  char letter = 0;
};

struct Given {
  std::string_view name;  // the Flag's
  std::string value;      // "true" for a boolean that was only named
};

struct CommandLine {
  std::vector<Given> flags;        // in order
  std::vector<std::string> words;  // what is no flag
};

// `arguments` without the program's name. The Error names the argument.
Result<CommandLine> read_command_line(const std::vector<std::string>& arguments, const std::vector<Flag>& flags);

std::optional<bool> parse_bool(std::string_view text);  // as Go's strconv.ParseBool

// One line each: "  --name VALUE    help".
std::string describe(const std::vector<Flag>& flags);

}  // namespace fairlead::agent
