// Firewalld: a real one with a system bus of its own, in whatever namespaces `enter` leads to. Its files, and the
// socket of the bus, are in a folder of /tmp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/datapath/process.h"

namespace fairlead::cnitest {

class Firewalld {
 public:
  // Of the programs it needs, one that is not installed; empty: none.
  static std::string missing();

  // `enter`: a command line that runs the one behind it ("nsenter", "--net=...").
  static Result<Firewalld> create(std::vector<std::string> enter);
  Firewalld(Firewalld&&) = default;
  Firewalld& operator=(Firewalld&&) = delete;
  ~Firewalld();  // ends both

  Status start_bus();  // until it can be connected to
  Status start();      // behind its bus, until it answers

  std::string socket() const { return folder_ + "/bus"; }
  // None when the source ("10.1.0.5/32") is in no zone.
  Result<std::optional<std::string>> zone_of(const std::string& source) const;

 private:
  Firewalld(std::vector<std::string> enter, std::string folder)
      : enter_(std::move(enter)), folder_(std::move(folder)) {}
  Result<testbed::Process> launch(const std::vector<std::string>& command) const;

  std::vector<std::string> enter_;
  std::string folder_;
  std::optional<testbed::Process> bus_, firewalld_;
};

}  // namespace fairlead::cnitest
