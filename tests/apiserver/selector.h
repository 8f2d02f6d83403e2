// Label and field selectors as the API server reads them from a query string
// (k8s.io/apimachinery/pkg/labels/selector.go, pkg/fields/selector.go, v1.36). Pure.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tests/apiserver/object.h"

namespace fairlead::tests::apiserver {

struct Requirement {
  enum class Op { Exists, DoesNotExist, In, NotIn };
  std::string key;
  Op op = Op::Exists;
  std::set<std::string> values;
  bool operator==(const Requirement&) const = default;
};

class Selector {
 public:
  // "a,!b,c=d,e!=f,g in (h,i),j notin (k)" and "metadata.name=x,spec.clusterIP!=None". An Error names what is
  // unsupported.
  static Result<Selector> parse(Resource resource, std::string_view labels, std::string_view fields);
  bool matches(const ApiObject& object) const;
  // Restricts to one namespace (the collection path of a namespace).
  void require_namespace(std::string ns) { namespace_ = std::move(ns); }

 private:
  std::vector<Requirement> labels_;
  std::vector<Requirement> fields_;
  std::string namespace_;
};

}  // namespace fairlead::tests::apiserver
