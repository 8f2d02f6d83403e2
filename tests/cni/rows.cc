#include "tests/cni/rows.h"

#include <iterator>

namespace fairlead::cnitest {

const std::vector<Row>& rows() {
  static const std::vector<Row> kAll = [] {
    std::vector<Row> all;
    for (std::vector<Row> part : {protocol_rows(), address_rows(), interface_rows(), chained_rows()})
      all.insert(all.end(), std::make_move_iterator(part.begin()), std::make_move_iterator(part.end()));
    return all;
  }();
  return kAll;
}

Attachment container(const std::string& name) {
  Attachment out;
  out.container = name;
  return out;
}

Attachment with_args(const std::string& cni_args) {
  Attachment out;
  out.args = cni_args;
  return out;
}

Attachment with_capabilities(const std::string& json) {
  Attachment out;
  out.capabilities = *base::parse_json(json);
  return out;
}

Attachment with_environment(const std::string& name, std::optional<std::string> value) {
  Attachment out;
  out.environment[name] = std::move(value);
  return out;
}

}  // namespace fairlead::cnitest
