// subprocess: run a program to its end with bounded time and output.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fairlead::base {

struct ProcessOutput {
  int exit_code = 0;  // 128 + signal when it was killed
  std::string out;
  std::string err;
};

struct ProcessOptions {
  std::chrono::milliseconds timeout = std::chrono::seconds(30);
  std::vector<std::string> environment = {};  // "NAME=value"; empty: ours
  bool keep_stderr = true;                    // else what it says there goes where ours does, and `err` stays empty
};

// Runs argv[0] (looked up in PATH) with `input` on its stdin. An Error means it could not be run, or overran
// `timeout` and was killed; a non-zero exit is a normal result. SIGPIPE is the child's to die of, whatever it is to us.
Result<ProcessOutput> run_process(const std::vector<std::string>& argv, std::string_view input,
                                  const ProcessOptions& options);
Result<ProcessOutput> run_process(const std::vector<std::string>& argv, std::string_view input = {},
                                  std::chrono::milliseconds timeout = std::chrono::seconds(30));

// As run_process, and a non-zero exit is an Error that carries stderr.
Result<std::string> run_checked(const std::vector<std::string>& argv, std::string_view input = {},
                                std::chrono::milliseconds timeout = std::chrono::seconds(30));

}  // namespace fairlead::base
