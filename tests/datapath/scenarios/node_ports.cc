// NodePorts and the addresses they answer on (nodePortAddresses).
#include "tests/datapath/scenarios/tables.h"

namespace fairlead::testbed::table {

std::vector<Scenario> node_ports() {
  const std::vector<std::string> all{"pod1b", "pod2a"};
  const ServiceBuilder web = both_protocols().as(Exposure::NodePort).with_endpoints(all);
  const auto served = [&](const To& to) { return from("client").to(to).answered_by(all).seen_as(Seen::Node); };
  const std::vector<Check> first_alone = {served(node_port(1, "t")),
                                          served(node_port(1, "u")),
                                          from("node1").to(node_port(1, "t")).answered_by(all),
                                          from("client").to(second_node_port(1, "t")).unanswered(),
                                          from("client").to(second_node_port(1, "u")).unanswered(),
                                          from("node1").to(second_node_port(1, "t")).unanswered()};
  const std::vector<Check> second_alone = {from("client").to(second_node_port(1, "t")).answered_by(all),
                                           from("client").to(second_node_port(1, "u")).answered_by(all),
                                           from("node1").to(second_node_port(1, "t")).answered_by(all),
                                           from("client").to(node_port(1, "t")).unanswered(),
                                           from("pod1a").to(node_port(1, "u")).unanswered()};
  const std::vector<Check> on_both = {served(node_port(1, "t")), served(second_node_port(1, "t")),
                                      from("client").to(second_node_port(1, "u")).answered_by(all),
                                      from("pod1a").to(second_node_port(1, "t")).answered_by(all),
                                      from("node1").to(second_node_port(1, "t")).answered_by(all)};
  const auto row = [&](std::string name, std::string items, const std::vector<Check>& expect, Operator setup) {
    return Scenario{std::move(name), std::move(items), {{.given = {web}, .expect = expect}}, Needs::Nothing, setup};
  };
  Scenario usual = row("NodePortsAnswerOnEveryAddressOfTheNode", "8.1/23", on_both, Operator::Usual);
  usual.differs = {
      {{"nftables"},
       "kube-proxy's nftables mode takes the primary addresses unless told; here every dataplane takes all "
       "of them (docs/adr/0010)"}};
  return {
      usual,
      row("NodePortsOnThePrimaryAddressAlone", "8.1/23", first_alone, Operator::NodePortsOnPrimary),
      row("NodePortsInARangeOfAddresses", "8.1/23", first_alone, Operator::NodePortsInRanges),
      row("NodePortsOnASecondAddressAlone", "8.1/23", second_alone, Operator::NodePortsOnSecond),
      {"NodePortAddressesOfIpv4CountForIpv4",
       "8.1/24",
       {{.given = {web}, .expect = second_alone}},
       Needs::IPv4,
       Operator::NodePortsOnSecondOfIpv4},
      {"NodePortAddressesOfIpv4SayNothingOfIpv6",
       "8.1/24",
       {{.given = {web}, .expect = on_both}},
       Needs::IPv6,
       Operator::NodePortsOnSecondOfIpv4},
      {"NodePortsShareANumberAcrossProtocols",
       "8.2/same-port 8.2/node-port",
       {{.given = {both_protocols().as(Exposure::NodePort).with_one_node_port().with_endpoints(all)},
         .expect =
             {
                 from("client").to(node_port(1, "t")).answered_by(all),
                 from("client").to(node_port(1, "u")).answered_by(all),
                 from("pod1a").to(node_port(1, "t")).answered_by(all),
                 from("pod1a").to(node_port(1, "u")).answered_by(all),
             }}}},
      {"ANodePortGoes",
       "8.2/node-port-change 8.2/type-change",
       {{.given = {web}, .expect = {served(node_port(1, "t")), served(node_port(1, "u"))}},
        {.given = {both_protocols().as(Exposure::ClusterIp).with_endpoints(all)},
         .expect = {from("client").to(node_port(1, "t")).unanswered(),
                    from("client").to(node_port(1, "u")).unanswered(),
                    from("pod1a").to(cluster_ip("t")).answered_by(all)}},
        {.given = {web}, .expect = {served(node_port(1, "t"))}}}},
  };
}

}  // namespace fairlead::testbed::table
