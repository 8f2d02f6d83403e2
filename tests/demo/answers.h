// Answers: what a number of requests came to: who answered, from which source address, what failed, how long it took.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/datapath/probe_spec.h"
#include "tests/demo/cluster.h"
#include "tests/demo/screen.h"

namespace fairlead::demo {

struct Answers {
  std::map<std::string, unsigned> by_pod;
  std::map<std::string, unsigned> sources;  // as the pods saw them
  std::map<std::string, unsigned> errors;
  std::vector<std::uint32_t> latencies_us;  // of the answered ones, sorted
  unsigned asked = 0;

  unsigned failed() const;
  std::string error_text() const;  // "3 refused, 1 timeout"; empty when there was none
  std::uint32_t percentile_us(unsigned percent) const;
  bool only_from(const std::vector<std::string>& pods) const;
  bool all_of(const std::vector<std::string>& pods) const;  // each answered at least once
};

Answers count(const std::vector<testbed::Attempt>& attempts);
// A new connection each, one after the other.
Result<Answers> ask(Cluster& cluster, const std::string& from, const testbed::Target& to, unsigned count);

std::string error_text(const std::map<std::string, std::uint64_t>& errors);

// Rows of who answered, a column per pod.
class AnswerTable {
 public:
  AnswerTable(const Cluster& cluster, const std::string& first_column, const std::string& second_column = "");
  void add(std::string first, std::string second, const Answers& answers);
  const Table& table() const { return table_; }

 private:
  std::string source_text(const Answers& answers) const;
  const Cluster& cluster_;
  std::vector<std::string> pods_;
  bool two_columns_;
  Table table_;
};

}  // namespace fairlead::demo
