#include "tests/cni/row.h"

namespace fairlead::cnitest {

const std::vector<Difference>& declared_differences() {
  static const std::vector<Difference> kAll = {
      {.id = "lo-already-up", .reason = "x", .theirs = {"* nothing"}, .ours = {}},
  };
  return kAll;
}

}  // namespace fairlead::cnitest
