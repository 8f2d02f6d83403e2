// Source: where the demo's agents read Services from, and how the demo changes them there: a directory of manifests, or
// the test API server on a host of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/datapath/process.h"
#include "tests/datapath/testbed.h"
#include "tests/demo/manifests.h"

namespace fairlead::demo {

class Source {
 public:
  virtual ~Source() = default;
  virtual Status put(const ManifestFile& file) = 0;  // as `kubectl apply -f`
  virtual std::vector<std::string> agent_flags() const = 0;
  virtual std::string description() const = 0;
  virtual std::string how_to_edit() const = 0;  // for --keep
};

Result<std::unique_ptr<Source>> directory_source(testbed::Testbed& testbed, const Manifests& manifests);
Result<std::unique_ptr<Source>> api_source(testbed::Testbed& testbed, const Manifests& manifests);

}  // namespace fairlead::demo
