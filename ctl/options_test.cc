#include "ctl/options.h"

#include <gtest/gtest.h>

namespace fairlead::ctl {
namespace {

Options parsed(const std::vector<std::string>& arguments) {
  auto result = parse_options(arguments);
  if (const auto* stop = std::get_if<Stop>(&result)) {
    ADD_FAILURE() << stop->text;
    return {};
  }
  return std::get<Options>(result);
}

std::string refusal(const std::vector<std::string>& arguments) {
  auto result = parse_options(arguments);
  const auto* stop = std::get_if<Stop>(&result);
  if (stop == nullptr) return "was accepted";
  EXPECT_EQ(stop->exit_code, 2);
  return stop->text.substr(0, stop->text.find('\n'));
}

TEST(CtlOptions, TakesCommandSocketNamespaceAndJsonInAnyOrder) {
  const Options options = parsed({"--socket", "/s", "services", "-n", "shop", "--json"});
  EXPECT_EQ(options.command, Command::Services);
  EXPECT_EQ(options.socket, "/s");
  EXPECT_EQ(options.only_namespace, "shop");
  EXPECT_EQ(options.output, Output::Json);
  EXPECT_EQ(parsed({"status", "--socket", "/s"}).socket, "/s");
  EXPECT_EQ(parsed({"status"}).socket, "/run/fairlead/agent.sock");
}

TEST(CtlOptions, ADumpIsOfOneDataplaneAndMayBeOfOneFamily) {
  const Options options = parsed({"dump", "nftables"});
  EXPECT_EQ(options.command, Command::DumpNftables);
  EXPECT_EQ(options.instance, "fairlead");
  EXPECT_EQ(options.family, std::nullopt);
  EXPECT_EQ(parsed({"dump", "nftables", "--instance", "blue"}).instance, "blue");
  EXPECT_EQ(parsed({"dump", "nftables", "--family", "ipv4"}).family, net::Family::V4);
  EXPECT_EQ(parsed({"dump", "nftables", "--family", "ipv6"}).family, net::Family::V6);
}

TEST(CtlOptions, RefusesWhatIsWrongInOneLine) {
  EXPECT_EQ(refusal({}), "error: a command is missing: use status, services, dump or version");
  EXPECT_EQ(refusal({"dump", "nftables", "--family", "ip"}),
            "error: --family: \"ip\" is not allowed: use ipv4 or ipv6");
  EXPECT_EQ(refusal({"dump", "nftables", "--json"}), "error: --json: dump prints text alone");
  EXPECT_NE(refusal({"dump"}), "was accepted");
  EXPECT_EQ(refusal({"stat"}), "error: stat: no such flag or command");
  EXPECT_EQ(refusal({"status", "--bogus"}), "error: --bogus: no such flag or command");
  EXPECT_EQ(refusal({"services", "-n"}), "error: -n: a value is missing");
  EXPECT_EQ(refusal({"services", "-n", "a&b"}), "error: --namespace: \"a&b\" is not allowed: use a-z, 0-9 and -");
}

}  // namespace
}  // namespace fairlead::ctl
