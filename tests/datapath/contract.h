// The contract: every rule of kube-proxy 1.36 that its unit tests and the service tests of sig-network's e2e suite hold
// it to, by a short id. Scenarios name the items they prove; scenario_test.cc sees that none is left out.
#pragma once

#include <string>
#include <vector>

namespace fairlead::testbed {

struct ContractItem {
  std::string id;    // "8.1/26": unit tests of the proxier; "topology/...", "8.2/...": e2e, and so on
  std::string text;  // the rule in a few words
  // For what no client can see: the tests that prove it, "<program>:<gtest filter>"; several by blanks. Otherwise
  // empty, and at least one scenario names the item.
  std::string proof{};
  std::string why_not{};  // why this node has no such thing at all; then there is neither
};

const std::vector<ContractItem>& contract();

}  // namespace fairlead::testbed
