#include "proxy/dataplane/ebpf/node.h"

#include <gtest/gtest.h>

namespace fairlead::proxy::dataplane::ebpf {
namespace {

TEST(Node, AMapThatCannotBeWrittenIsNamedOnceAndTheServicesAreNotBlamed) {
  const net::Links links{
      .links = {{.index = 2, .name = "port0", .ethernet = true, .master = 3, .master_kind = "bridge"}},
      .addresses = {{.address = *net::Ip::parse("192.0.2.1"), .link = 2, .global = true},
                    {.address = *net::Ip::parse("192.0.2.2"), .link = 2, .global = true}}};
  Report report;
  model::NodeState node;
  node.pods = {.sources = {*net::Prefix::parse("10.1.0.0/16")}, .interface = "port0"};
  write_node(plan_node(node, links, {}), NodeMaps{}, report);  // no descriptor is open: each write fails
  std::vector<std::string> objects;
  for (const Failure& failure : report.failures) {
    EXPECT_EQ(failure.service, model::Key{});
    objects.push_back(failure.object);
  }
  EXPECT_EQ(objects, (std::vector<std::string>{"map node_addresses", "map bridge_ports", "map pod_interfaces",
                                               "map networks", "map node_config"}));
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::ebpf
