#include "agent/flags.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "base/strings.h"

namespace fairlead::agent {
namespace {

using base::cat;

Error unknown(std::string_view argument) { return Error(cat(argument, ": no such flag or command")); }

class Reader {
 public:
  Reader(const std::vector<std::string>& arguments, const std::vector<Flag>& flags)
      : arguments_(arguments), flags_(flags) {}

  Result<CommandLine> read() {
    while (next_ < arguments_.size()) {
      const std::string& argument = arguments_[next_++];
      if (argument == "--") {
        out_.words.insert(out_.words.end(), arguments_.begin() + static_cast<std::ptrdiff_t>(next_), arguments_.end());
        break;
      }
      if (argument.starts_with("--")) {
        TRY(read_long(argument));
      } else if (argument.size() > 1 && argument.front() == '-') {
        TRY(read_letter(argument));
      } else {
        out_.words.push_back(argument);
      }
    }
    return std::move(out_);
  }

 private:
  Status read_long(const std::string& argument) {
    const std::size_t equals = argument.find('=');
    std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    std::replace(name.begin(), name.end(), '_', '-');
    const auto flag = std::find_if(flags_.begin(), flags_.end(), [&](const Flag& one) { return one.name == name; });
    if (flag == flags_.end()) return unknown(argument.substr(0, equals));
    if (equals != std::string::npos) return add(*flag, argument.substr(equals + 1));
    return add_following(*flag, argument);
  }

  Status read_letter(const std::string& argument) {
    const auto flag =
        std::find_if(flags_.begin(), flags_.end(), [&](const Flag& one) { return one.letter == argument[1]; });
    const bool known = flag != flags_.end() && !(flag->value.empty() && argument.size() > 2);
    if (!known) return unknown(argument);
    if (argument.size() == 2) return add_following(*flag, argument);
    return add(*flag, argument.substr(argument[2] == '=' ? 3 : 2));
  }

  Status add_following(const Flag& flag, const std::string& argument) {
    if (flag.value.empty()) return add(flag, "true");
    if (next_ == arguments_.size()) return Error(cat(argument, ": a value is missing"));
    return add(flag, arguments_[next_++]);
  }

  Status add(const Flag& flag, std::string value) {
    out_.flags.push_back({flag.name, std::move(value)});
    return {};
  }

  const std::vector<std::string>& arguments_;
  const std::vector<Flag>& flags_;
  std::size_t next_ = 0;
  CommandLine out_;
};

}  // namespace

Result<CommandLine> read_command_line(const std::vector<std::string>& arguments, const std::vector<Flag>& flags) {
  return Reader(arguments, flags).read();
}

std::optional<bool> parse_bool(std::string_view text) {
  constexpr std::array<std::string_view, 6> kTrue = {"1", "t", "T", "true", "TRUE", "True"};
  constexpr std::array<std::string_view, 6> kFalse = {"0", "f", "F", "false", "FALSE", "False"};
  if (std::find(kTrue.begin(), kTrue.end(), text) != kTrue.end()) return true;
  if (std::find(kFalse.begin(), kFalse.end(), text) != kFalse.end()) return false;
  return std::nullopt;
}

std::string describe(const std::vector<Flag>& flags) {
  constexpr std::size_t kColumn = 44;
  std::string out;
  for (const Flag& flag : flags) {
    std::string line = cat("  ", flag.letter == 0 ? std::string() : cat("-", flag.letter, ", "), "--", flag.name);
    if (!flag.value.empty()) line += cat(" ", flag.value);
    line.append(line.size() < kColumn ? kColumn - line.size() : 1, ' ');
    out += cat(line, " ", flag.help, "\n");
  }
  return out;
}

}  // namespace fairlead::agent
