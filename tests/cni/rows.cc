#include "tests/cni/row.h"

namespace fairlead::cnitest {
namespace {

const std::vector<std::string> kVersions = {"0.3.0", "0.3.1", "0.4.0", "1.0.0"};

std::vector<Row> basics() {
  return {
      {.name = "Loopback", .plugins = R"([{"type": "loopback"}])", .versions = kVersions},
  };
}

}  // namespace

const std::vector<Row>& rows() {
  static const std::vector<Row> kAll = [] {
    std::vector<Row> all;
    for (auto& part : {basics()}) all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return kAll;
}

}  // namespace fairlead::cnitest
