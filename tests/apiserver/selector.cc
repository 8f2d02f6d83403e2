#include "tests/apiserver/selector.h"

#include <algorithm>
#include <array>

#include "base/strings.h"

namespace fairlead::tests::apiserver {
namespace {

using base::cat;
using base::trim;
using Op = Requirement::Op;

// Splits at commas outside parentheses.
std::vector<std::string_view> split_terms(std::string_view text) {
  std::vector<std::string_view> terms;
  std::size_t start = 0;
  int depth = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || (text[i] == ',' && depth == 0)) {
      if (!trim(text.substr(start, i - start)).empty()) terms.push_back(trim(text.substr(start, i - start)));
      start = i + 1;
    } else if (text[i] == '(') {
      ++depth;
    } else if (text[i] == ')') {
      --depth;
    }
  }
  return terms;
}

// "key in (a,b)" and "key notin (a,b)"; nothing when `term` has no parentheses.
Result<std::optional<Requirement>> parse_set(std::string_view term) {
  const std::size_t open = term.find('(');
  if (open == term.npos) return std::optional<Requirement>();
  const std::string_view head = trim(term.substr(0, open));
  const std::size_t space = head.rfind(' ');
  if (space == head.npos || term.back() != ')') return Error(cat("unable to parse requirement: ", term));
  const std::string_view word = head.substr(space + 1);
  if (word != "in" && word != "notin") return Error(cat("unable to parse requirement: found '", word, "'"));
  Requirement requirement{
      .key = std::string(trim(head.substr(0, space))), .op = word == "in" ? Op::In : Op::NotIn, .values = {}};
  for (const std::string_view value : base::split(term.substr(open + 1, term.size() - open - 2), ',')) {
    requirement.values.emplace(trim(value));
  }
  return std::optional(std::move(requirement));
}

Result<Requirement> parse_term(std::string_view term) {
  if (auto set = TRY(parse_set(term))) return *std::move(set);
  if (term.front() == '!')
    return Requirement{.key = std::string(trim(term.substr(1))), .op = Op::DoesNotExist, .values = {}};
  const std::size_t equals = term.find('=');
  if (equals == term.npos) return Requirement{.key = std::string(term), .op = Op::Exists, .values = {}};
  const bool negated = equals > 0 && term[equals - 1] == '!';
  std::string_view value = term.substr(equals + 1);
  if (!value.empty() && value.front() == '=') value.remove_prefix(1);
  Requirement requirement{.key = std::string(trim(term.substr(0, negated ? equals - 1 : equals))),
                          .op = negated ? Op::NotIn : Op::In,
                          .values = {std::string(trim(value))}};
  if (requirement.key.empty()) return Error(cat("unable to parse requirement: ", term));
  return requirement;
}

bool supported_field(Resource resource, std::string_view path) {
  if (path == "metadata.name") return true;
  if (path == "metadata.namespace") return info(resource).namespaced;
  if (resource == Resource::Services) return path == "spec.clusterIP" || path == "spec.type";
  return resource == Resource::Nodes && path == "spec.unschedulable";
}

bool label_matches(const Requirement& requirement, const std::map<std::string, std::string>& labels) {
  const auto it = labels.find(requirement.key);
  const bool exists = it != labels.end();
  switch (requirement.op) {
    case Op::Exists: return exists;
    case Op::DoesNotExist: return !exists;
    case Op::In: return exists && requirement.values.contains(it->second);
    case Op::NotIn: return !exists || !requirement.values.contains(it->second);
  }
  return false;
}

}  // namespace

Result<Selector> Selector::parse(Resource resource, std::string_view labels, std::string_view fields) {
  Selector selector;
  for (const std::string_view term : split_terms(labels)) selector.labels_.push_back(TRY(parse_term(term)));
  for (const std::string_view term : split_terms(fields)) {
    Requirement requirement = TRY(parse_term(term));
    if (requirement.op != Op::In && requirement.op != Op::NotIn) return Error(cat("invalid field selector: ", term));
    if (!supported_field(resource, requirement.key)) {
      return Error(cat("field label not supported: ", requirement.key));
    }
    selector.fields_.push_back(std::move(requirement));
  }
  return selector;
}

bool Selector::matches(const ApiObject& object) const {
  if (!namespace_.empty() && object.key().ns != namespace_) return false;
  return std::all_of(labels_.begin(), labels_.end(),
                     [&](const Requirement& r) { return label_matches(r, object.labels()); }) &&
         std::all_of(fields_.begin(), fields_.end(), [&](const Requirement& r) {
           return r.values.contains(std::string(object.field(r.key))) == (r.op == Op::In);
         });
}

}  // namespace fairlead::tests::apiserver
