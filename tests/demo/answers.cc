#include "tests/demo/answers.h"

#include <algorithm>

#include "base/strings.h"
#include "tests/demo/interrupt.h"

namespace fairlead::demo {
namespace {

using base::cat;

std::vector<std::string> pod_names(const Cluster& cluster) {
  std::vector<std::string> names;
  for (const testbed::Place* pod : cluster.pods()) names.push_back(pod->name);
  return names;
}

Table answer_table(const std::vector<std::string>& pods, const std::string& first, const std::string& second) {
  std::vector<Table::Column> columns{{first, Align::Left}};
  if (!second.empty()) columns.push_back({second, Align::Left});
  for (const std::string& pod : pods) columns.push_back({pod});
  columns.push_back({"failed"});
  columns.push_back({"source seen", Align::Left});
  return Table(std::move(columns));
}

}  // namespace

unsigned Answers::failed() const {
  unsigned sum = 0;
  for (const auto& [kind, times] : errors) sum += times;
  return sum;
}

std::string Answers::error_text() const { return demo::error_text({errors.begin(), errors.end()}); }

std::uint32_t Answers::percentile_us(unsigned percent) const {
  if (latencies_us.empty()) return 0;
  return latencies_us[std::min(latencies_us.size() - 1, latencies_us.size() * percent / 100)];
}

bool Answers::only_from(const std::vector<std::string>& pods) const {
  return std::all_of(by_pod.begin(), by_pod.end(),
                     [&](const auto& entry) { return std::find(pods.begin(), pods.end(), entry.first) != pods.end(); });
}

bool Answers::all_of(const std::vector<std::string>& pods) const {
  return std::all_of(pods.begin(), pods.end(), [&](const std::string& pod) { return by_pod.count(pod) != 0; });
}

Answers count(const std::vector<testbed::Attempt>& attempts) {
  Answers answers;
  for (const testbed::Attempt& attempt : attempts) {
    ++answers.asked;
    if (!attempt.error.empty()) {
      ++answers.errors[attempt.error];
      continue;
    }
    ++answers.by_pod[attempt.answer];
    ++answers.sources[attempt.source];
    answers.latencies_us.push_back(attempt.latency_us);
  }
  std::sort(answers.latencies_us.begin(), answers.latencies_us.end());
  return answers;
}

Result<Answers> ask(Cluster& cluster, const std::string& from, const testbed::Target& to, unsigned times) {
  TRY(Interrupt::check());
  testbed::ConnectSpec spec;
  spec.to = to;
  spec.count = times;
  return count(TRY_CONTEXT(cluster.testbed().connect(from, spec), cat(from, " to ", to.to_string())));
}

std::string error_text(const std::map<std::string, std::uint64_t>& errors) {
  std::vector<std::string> parts;
  for (const auto& [kind, times] : errors) parts.push_back(cat(times, " ", kind));
  return base::join(parts, ", ");
}

AnswerTable::AnswerTable(const Cluster& cluster, const std::string& first_column, const std::string& second_column)
    : cluster_(cluster),
      pods_(pod_names(cluster)),
      two_columns_(!second_column.empty()),
      table_(answer_table(pods_, first_column, second_column)) {}

std::string AnswerTable::source_text(const Answers& answers) const {
  std::vector<std::string> parts;
  for (const auto& [source, times] : answers.sources) {
    const std::string name = cluster_.place_at(source);
    parts.push_back(name.empty() ? source : cat(source, " (", name, ")"));
  }
  return base::join(parts, ", ");
}

void AnswerTable::add(std::string first, std::string second, const Answers& answers) {
  std::vector<std::string> cells{std::move(first)};
  if (two_columns_) cells.push_back(std::move(second));
  for (const std::string& pod : pods_) {
    const auto found = answers.by_pod.find(pod);
    cells.push_back(found == answers.by_pod.end() ? "-" : cat(found->second));
  }
  cells.push_back(cat(answers.failed()));
  cells.push_back(source_text(answers));
  table_.add(std::move(cells));
}

}  // namespace fairlead::demo
