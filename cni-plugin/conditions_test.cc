// What portmap's conditions may say, and in which words.
#include "cni-plugin/conditions.h"

#include <gtest/gtest.h>

#include "base/strings.h"

namespace fairlead::cni {
namespace {

using net::Family;

struct Row {
  std::string words;  // apart by spaces
  Family family;
  std::string means;  // in nft's words; or the error with its code
};
std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.words; }

class ConditionWords : public ::testing::TestWithParam<Row> {};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words;
  for (const std::string_view word : base::split(text, ' ')) {
    if (!word.empty()) words.emplace_back(word);
  }
  return words;
}

TEST_P(ConditionWords, AreUnderstoodOrRefused) {
  const auto parsed = parse_conditions(split(GetParam().words), GetParam().family);
  const std::string means =
      parsed ? to_string(*parsed) : base::cat(parsed.error().code(), " ", parsed.error().message());
  EXPECT_EQ(means.substr(0, GetParam().means.size()), GetParam().means);
  if (!parsed) return;
  EXPECT_EQ(means, GetParam().means);
  // What it prints is the same again, and makes rules.
  EXPECT_EQ(parse_conditions(split(means), GetParam().family).value(), *parsed);
  EXPECT_EQ(exprs_of(*parsed, GetParam().family).empty(), parsed->empty());
}

INSTANTIATE_TEST_SUITE_P(
    Conditions, ConditionWords,
    ::testing::Values(
        Row{"", Family::V4, ""},  //
        Row{"-d 192.0.2.0/24", Family::V4, "ip daddr == 192.0.2.0/24"},
        Row{"! -d 192.0.2.7", Family::V4, "ip daddr != 192.0.2.7/32"},
        Row{"-s fd00::/8 ! --destination fd00::1", Family::V6, "ip6 saddr == fd00::/8 ip6 daddr != fd00::1/128"},
        Row{"! -i eth+ -m mark --mark 0x10/0xf0", Family::V4, "iifname != \"eth*\" mark & 240 == 16"},
        Row{"-m mark ! --mark 7", Family::V4, "mark & 4294967295 != 7"},
        Row{"-m addrtype --dst-type LOCAL ! --src-type MULTICAST", Family::V4,
            "fib daddr type == local fib saddr type != multicast"},
        Row{"-m comment --comment why -m conntrack --ctstate NEW -s 10.0.0.0/8", Family::V4, "ip saddr == 10.0.0.0/8"},
        Row{"ip daddr != 192.0.2.0/24", Family::V4, "ip daddr != 192.0.2.0/24"},
        Row{"meta iifname \"eth0\" ip6 saddr fd00::1", Family::V6, "iifname == \"eth0\" ip6 saddr == fd00::1/128"},
        Row{"meta mark & 0xff != 0x1 fib saddr type local", Family::V4, "mark & 255 != 1 fib saddr type == local"},
        Row{"-d", Family::V4, "7 \"-d\" has nothing behind it"},  //
        Row{"!", Family::V4, "7 \"!\" has nothing behind it"},
        Row{"-d 192.0.2.0/33", Family::V4, "7 \"192.0.2.0/33\" is no IPv4 address or prefix"},
        Row{"-d fd00::1", Family::V4, "7 \"fd00::1\" is no IPv4 address or prefix"},
        Row{"-d 10.0.0.1,10.0.0.2", Family::V4, "7 \"10.0.0.1,10.0.0.2\" is no IPv4 address"},
        Row{"-i averyveryverylongname", Family::V4, "7 \"averyveryverylongname\" is no name of an interface"},
        Row{"--mark 0x1ffffffff", Family::V4, "7 \"0x1ffffffff\" is no number of 32 bits"},
        Row{"--mark x", Family::V4, "7 \"x\" is no number of 32 bits"},
        Row{"--mark 0xff/", Family::V4, "7 \"\" is no number of 32 bits"},
        Row{"--dst-type ELSEWHERE", Family::V4, "7 \"ELSEWHERE\" is none of the address types unspec, unicast"},
        Row{"-m set --match-set x src", Family::V4, "2 \"-m set\" is not supported; known are -s, -d, -i"},
        Row{"! --comment x", Family::V4, "2 \"! --comment x\" is not supported"},
        Row{"-p tcp", Family::V4, "2 \"-p tcp\" is not supported"},
        Row{"ip6 daddr fd00::1", Family::V4, "7 \"ip6\" is the other family; that has a list of its own"},
        Row{"ip daddr", Family::V4, "7 \"daddr\" has nothing behind it"},
        Row{"ip daddr @set", Family::V4, "7 \"@set\" is no IPv4 address"},
        Row{"tcp dport 80", Family::V4, "2 \"tcp\" is not supported; known are ip or ip6 saddr and daddr"},
        Row{"meta cgroup 1", Family::V4, "2 \"meta cgroup\" is not supported"}));

}  // namespace
}  // namespace fairlead::cni
