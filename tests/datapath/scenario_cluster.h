// The testbed that scenarios are played on, and the driver that gives its nodes their services: one at a time, kept as
// long as dataplane and operator's setup stay the same.
#pragma once

#include <memory>
#include <string>

#include "tests/datapath/driver.h"
#include "tests/datapath/operator.h"
#include "tests/datapath/testbed.h"

namespace fairlead::testbed {

class ScenarioCluster {
 public:
  explicit ScenarioCluster(PodLink pod_link = PodLink::Routed) : pod_link_(pod_link) {}
  Status use(const std::string& dataplane, Operator setup);
  Testbed& testbed() { return *testbed_; }
  Driver& driver() { return *driver_; }
  void give_up_driver() { driver_.reset(); }  // the next scenario begins with a new one
  unsigned take_number() { return ++next_number_; }
  Status remove();

  static bool in_process();  // $FAIRLEAD_TEST_DRIVER says so
  static bool kernel_has_sctp();
  static net::Ip second_address(unsigned node, net::Family family);  // 172.19.0.<node>, fd00:172:19::<node>

 private:
  Status build();
  Status stop_driver();

  const PodLink pod_link_;
  std::unique_ptr<Testbed> testbed_;
  std::unique_ptr<Driver> driver_;
  std::string dataplane_;
  Operator setup_ = Operator::Usual;
  unsigned next_number_ = 0;
};

}  // namespace fairlead::testbed
