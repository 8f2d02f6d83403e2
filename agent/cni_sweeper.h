// CniSweeper: a thread that collects what pods left behind whose sandbox is gone. containerd never calls GC, so that
// the agent does it: it asks the CNI binary which attachments are dead, and has those released that were dead twice in
// a row.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/loop.h"
#include "base/result.h"

namespace fairlead::agent {

// Of two questions in a row: what was dead both times. Pure.
class DeadTwice {
 public:
  // Names of records that are dead now; returns those that were dead at the last call too.
  std::vector<std::string> see(const std::vector<std::string>& dead);

 private:
  std::set<std::string> seen_;
};

// The records that `fairlead-cni sweep` calls dead: [{"record": "<path>", ...}, ...].
Result<std::vector<std::string>> parse_sweep(const std::string& json);

// Of `fairlead-cni release`: [{"record", "released", "error"?}, ...].
struct Released {
  std::vector<std::string> records;
  std::vector<std::string> errors;  // "<record>: <why not>"
  bool operator==(const Released&) const = default;
};
Result<Released> parse_release(const std::string& json);

class CniSweeper {
 public:
  struct Setup {
    std::vector<std::string> command;  // fairlead-cni, and what stands before its verb
    base::Duration period;
    // On the sweeper's thread.
    std::function<void(const Released&)> released;
    std::function<void(const Error&)> failed;
  };
  static Result<std::unique_ptr<CniSweeper>> start(Setup setup);
  ~CniSweeper();  // after the sweep in progress
  CniSweeper(const CniSweeper&) = delete;
  CniSweeper& operator=(const CniSweeper&) = delete;

 private:
  explicit CniSweeper(Setup setup) : setup_(std::move(setup)) {}
  Status sweep();

  const Setup setup_;
  DeadTwice dead_;
  std::string complaint_;  // of the last sweep
  std::atomic<bool> stopping_ = false;
  std::unique_ptr<base::Loop> loop_;
  base::Loop::Handle timer_ = base::Loop::none();
  std::thread thread_;
};

}  // namespace fairlead::agent
