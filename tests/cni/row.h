// Row: one story told to the reference plugins and to ours, each on a host of its own. What they answer and what they
// do to the kernel is told in lines; lines that differ must be declared, and what is declared must differ.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "tests/cni/runtime.h"
#include "tests/cni/snapshot.h"

namespace fairlead::cnitest {

// What the network's plugins are told, or a script (sh) that runs in the host.
struct Step {
  std::string verb;  // ADD CHECK DEL STATUS VERSION, "sh", "connect" or "zone"
  Attachment attachment{};
  std::string script{};      // of "sh"; whom "connect" and "zone" ask for
  bool lost_result = false;  // DEL: the runtime has no result any more
};
Step add(Attachment attachment = {});
Step check(Attachment attachment = {});
Step del(Attachment attachment = {});
Step del_without_result(Attachment attachment = {});
Step sh(std::string script);
// From the namespace of a container ("" for the host's) to "address:port"; the line says who answers and whom it sees.
Step connect(std::string from, std::string to);
// The line says in which zone of firewalld a source ("10.1.0.2/32") is.
Step zone(std::string source);

struct Row {
  std::string name;     // CamelCase: a test's
  std::string plugins;  // JSON list, its text
  std::vector<Step> steps{add(), check(), del(), del()};
  std::vector<std::string> versions{"1.0.0"};               // of cniVersion
  std::string prior{};                                      // a script in the host, before all
  std::string mentions{};                                   // every error message has it, in any case; "theirs|ours"
  std::vector<std::string> servers{};                       // containers that listen on [::]:80, TCP
  std::vector<std::string> sysctls{}, container_sysctls{};  // to be looked at
  bool firewalld = false;                                   // runs on the host, behind `prior`
};
std::ostream& operator<<(std::ostream& out, const Row& row);
const std::vector<Row>& rows();

// Globs ("* fails in * with code 7") of lines that only theirs, or only ours, have.
struct Difference {
  std::string id;
  std::string reason;
  std::vector<std::string> theirs{};
  std::vector<std::string> ours{};
  // Names of rows ("BridgePlain", or "BridgePlain 1.0.0" for one version), or globs of them, where it must occur, and
  // nowhere else.
  std::string rows{};
};
const std::vector<Difference>& declared_differences();

// "1 ADD result.ips[0].address = 10.1.0.2/24", "1 ADD + host link cni0 ...": the lines of a step and how the kernel's
// state changed by it, step by step.
struct Telling {
  Lines lines;
  Lines messages;  // of errors, for whoever looks into a failure
};
Result<Telling> tell(const Row& row, const std::string& version, Implementation implementation);

// Whether `difference` is declared for the row in that version.
bool declared_for(const Difference& difference, const std::string& row, const std::string& version);
// What is wrong with the two tellings, in sentences; empty: nothing.
Lines verdict(const std::vector<Difference>& declared, const Lines& theirs, const Lines& ours);

}  // namespace fairlead::cnitest
