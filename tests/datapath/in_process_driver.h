// InProcessDriver: the dataplane of every node inside the test process, each in its node's namespace, fed through the
// store and the model. For telling a fault of a dataplane from one of the agent (FAIRLEAD_TEST_DRIVER=in-process).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/model/node.h"
#include "tests/datapath/driver.h"

namespace fairlead::testbed {

Result<std::unique_ptr<Driver>> in_process_driver(Testbed& testbed, const std::string& dataplane,
                                                  const proxy::model::Config& config = {});

}  // namespace fairlead::testbed
