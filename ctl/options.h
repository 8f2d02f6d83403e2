// options: the command line of fairleadctl, checked. CLI11 stays inside options.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "net/ip.h"

namespace fairlead::ctl {

enum class Command : std::uint8_t { Status, Services, DumpNftables, Version };
enum class Output : std::uint8_t { Table, Json };

struct Options {
  Command command = Command::Status;
  std::string socket = "/run/fairlead/agent.sock";
  std::string only_namespace;         // Services; empty: all
  std::string instance = "fairlead";  // DumpNftables: the tables' name
  std::optional<net::Family> family;  // DumpNftables; empty: both
  Output output = Output::Table;
};

// Stop here: print `text` (stdout when exit_code is 0, else stderr) and exit.
struct Stop {
  int exit_code = 0;
  std::string text;
};

// `arguments` without the program's name.
std::variant<Options, Stop> parse_options(const std::vector<std::string>& arguments);

}  // namespace fairlead::ctl
