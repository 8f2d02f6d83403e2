#include "tests/cni/row.h"

namespace fairlead::cnitest {

const std::vector<Difference>& declared_differences() {
  static const std::vector<Difference> kAll = {
      {.id = "ip-version",
       .reason = "versions before 1.0.0 require `version` in each of `ips`",
       .ours = {"* ADD result.ips[*].version = *"},
       .rows = "Loopback"},
  };
  return kAll;
}

}  // namespace fairlead::cnitest
