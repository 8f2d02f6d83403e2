#include <gtest/gtest.h>

#include "cni-plugin/testing.h"

namespace fairlead::cni {
namespace {

struct Row {
  const char* args = "";    // CNI_ARGS
  const char* config = "";  // members beside name, cniVersion, ipam
};

std::string told(std::string_view ipam, const Row& row = {}, std::string_view version = "1.0.0") {
  Environment environment = testing::variables("ADD");
  if (row.args[0] != '\0') environment["CNI_ARGS"] = row.args;
  const Answer answer = testing::ask(
      kStatic, environment,
      base::cat(R"({"cniVersion":")", version, R"(","name":"net","ipam":)", ipam, row.config, "}"), World());
  const auto json = testing::json(answer.out);
  if (answer.exit_code != 0) return base::cat(*json["code"].as_int(), " ", *json["msg"].as_string());
  std::string out;
  if (const auto* ips = json["ips"].as_array()) {
    for (const auto& ip : *ips) {
      base::append(out, base::cat(out.empty() ? "" : ", ", *ip["address"].as_string()));
      if (!ip["gateway"].is_null()) base::append(out, base::cat(" via ", *ip["gateway"].as_string()));
    }
  }
  return out;
}

constexpr char kOne[] = R"({"type":"static","addresses":[{"address":"10.1.0.5/24","gateway":"10.1.0.1"}]})";

TEST(Static, HandsOutWhatTheConfigurationSays) {
  const Answer answer = testing::ask(kStatic, testing::variables("ADD"),
                                     R"({"cniVersion":"0.4.0","name":"net","ipam":{"type":"static","addresses":[
          {"address":"10.10.0.1/24","gateway":"10.10.0.254"},{"address":"3ffe:ffff:0:01ff::1/64","gateway":"3ffe:ffff:0::1"}],
          "routes":[{"dst":"0.0.0.0/0"},{"dst":"192.168.0.0/16","gw":"10.10.5.1"}],
          "dns":{"nameservers":["8.8.8.8"],"domain":"example.com","search":["example.com"]}}})",
                                     World());
  EXPECT_EQ(answer.out,
            R"({"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.10.0.1/24","gateway":"10.10.0.254"},)"
            R"({"version":"6","address":"3ffe:ffff:0:1ff::1/64","gateway":"3ffe:ffff::1"}],)"
            R"("routes":[{"dst":"0.0.0.0/0"},{"dst":"192.168.0.0/16","gw":"10.10.5.1"}],)"
            R"("dns":{"nameservers":["8.8.8.8"],"domain":"example.com","search":["example.com"]}})"
            "\n");
}

TEST(Static, CniArgsAddAddressesAndGatewaysOfTheirSubnets) {
  EXPECT_EQ(told(R"({})", {"IP=10.10.0.1/24,11.11.0.1/24;GATEWAY=10.10.0.254"}),
            "10.10.0.1/24 via 10.10.0.254, 11.11.0.1/24");
  EXPECT_EQ(told(kOne, {"IP=10.2.0.5/24;GATEWAY=10.1.0.9"}), "10.1.0.5/24 via 10.1.0.9, 10.2.0.5/24");
}

TEST(Static, RuntimeConfigStandsInForArgsAndArgsForTheRest) {
  EXPECT_EQ(told(kOne, {"IP=10.2.0.5/24", R"(,"args":{"cni":{"ips":["10.3.0.5/24"]}})"}), "10.3.0.5/24");
  EXPECT_EQ(told(kOne, {"IP=10.2.0.5/24",
                        R"(,"args":{"cni":{"ips":["10.3.0.5/24"]}},"RuntimeConfig":{"ips":["10.4.0.5/24"]})"}),
            "10.4.0.5/24");
}

TEST(Static, WhatIsWrongIsNamed) {
  EXPECT_EQ(told("null"), "7 static: ipam: is missing");
  EXPECT_EQ(told(R"({"addresses":[{"gateway":"10.0.0.1"}]})"), "7 static: ipam.addresses[0].address: is missing");
  EXPECT_NE(
      told(R"({"addresses":[{"address":"10.10.0.1"}]})").find("7 static: ipam.addresses[0].address: \"10.10.0.1\""),
      std::string::npos);
  EXPECT_NE(told("{}", {"IP=10.10.0.1"}).find("7 static: CNI_ARGS: IP: \"10.10.0.1\""), std::string::npos);
  EXPECT_NE(told(kOne, {"GATEWAY=x"}).find("4 static: CNI_ARGS: GATEWAY: \"x\""), std::string::npos);
  EXPECT_NE(told("{}", {"", R"(,"runtimeConfig":{"ips":["x"]})"}).find("7 static: runtimeConfig.ips: \"x\""),
            std::string::npos);
}

TEST(Static, OldVersionsHaveOneAddressOfAFamily) {
  EXPECT_EQ(told(R"({"addresses":[{"address":"10.0.0.1/8"},{"address":"10.0.0.2/8"}]})", {}, "0.2.0"),
            "7 static: CNI version 0.2.0 does not support more than 1 address per family");
}

TEST(Static, CheckComparesWithThePreviousResult) {
  const auto check = [](std::string_view previous) {
    return testing::ask(
               kStatic, testing::variables("CHECK"),
               base::cat(R"({"cniVersion":"1.0.0","name":"net","ipam":{"addresses":[{"address":"10.1.0.5/24"}],)",
                         R"("routes":[{"dst":"10.2.0.0/16"}]},"prevResult":)", previous, "}"),
               World())
        .out;
  };
  EXPECT_EQ(check(R"({"ips":[{"address":"10.1.0.5/24"}],"routes":[{"dst":"10.2.0.0/16","gw":"10.1.0.1"}]})"), "");
  EXPECT_NE(check(R"({"ips":[{"address":"10.1.0.6/24"}]})").find("prevResult lacks the address 10.1.0.5/24"),
            std::string::npos);
  EXPECT_NE(check(R"({"ips":[{"address":"10.1.0.5/24"}]})").find("prevResult lacks the route to 10.2.0.0/16"),
            std::string::npos);
}

}  // namespace
}  // namespace fairlead::cni
