#include "net/ip.h"

#include <gtest/gtest.h>

namespace fairlead::net {
namespace {

TEST(Ip, ReadsAndWritesBothFamilies) {
  for (const std::string text :
       {"10.0.0.1", "255.255.255.255", "0.0.0.0", "::", "::1", "fd00::1:2", "2001:db8::", "1:0:2:3:4:5:6:7",
        "0:1:2:3:4:5:6:7", "1:2:3:4:5:6:7:0", "fd00:0:1::1", "1::4:0:0:7:8", "1:0:0:4::", "::a01:5", "::ffff:0:0:1"}) {
    const auto ip = Ip::parse(text);
    ASSERT_TRUE(ip) << text;
    EXPECT_EQ(ip->to_string(), text);
    EXPECT_EQ(ip->is_v4(), text.find(':') == text.npos);
  }
}

TEST(Ip, RefusesWhatIsNoAddress) {
  for (const std::string text : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "a", "1.2.3.4 ", ":::", "172.30.0.041"}) {
    EXPECT_FALSE(Ip::parse(text)) << text;
  }
  EXPECT_FALSE(Ip::parse(std::string_view("::1\0x", 5)));
}

TEST(Ip, SloppyReadingTakesLeadingZerosAsDecimal) {
  EXPECT_EQ(Ip::parse_sloppy("172.30.0.041")->to_string(), "172.30.0.41");
  EXPECT_EQ(Ip::parse_sloppy("010.000.00.1")->to_string(), "10.0.0.1");
  EXPECT_FALSE(Ip::parse_sloppy("1..2.3"));
  EXPECT_FALSE(Ip::parse_sloppy("0999.1.1.1"));
}

TEST(Ip, KnowsAddressesThatNoHostHas) {
  for (const std::string text : {"224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1"}) {
    EXPECT_TRUE(Ip::parse(text)->is_multicast()) << text;
  }
  for (const std::string text : {"223.255.255.255", "240.0.0.1", "10.0.0.1", "fe80::1", "::1"}) {
    EXPECT_FALSE(Ip::parse(text)->is_multicast()) << text;
  }
}

TEST(Prefix, ClearsHostBitsAndKnowsItsMembers) {
  const auto v4 = Prefix::parse("10.1.255.7/15");
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->to_string(), "10.0.0.0/15");
  EXPECT_TRUE(v4->contains(Ip::v4(10, 1, 2, 3)));
  EXPECT_FALSE(v4->contains(Ip::v4(10, 2, 0, 0)));
  const auto v6 = Prefix::parse("fd00:1::/33");
  ASSERT_TRUE(v6);
  EXPECT_TRUE(v6->contains(*Ip::parse("fd00:1:7fff::1")));
  EXPECT_FALSE(v6->contains(*Ip::parse("fd00:1:8000::1")));
  EXPECT_FALSE(v6->contains(Ip::v4(10, 0, 0, 1)));
  EXPECT_TRUE(Prefix::parse("0.0.0.0/0")->contains(Ip::v4(1, 2, 3, 4)));
  EXPECT_EQ(Prefix::parse_sloppy("203.0.113.000/025")->to_string(), "203.0.113.0/25");
}

TEST(Prefix, RefusesLengthsOutsideTheFamily) {
  for (const std::string text : {"10.0.0.0/33", "::/129", "10.0.0.0", "10.0.0.0/", "10.0.0.0/-1", "/8"}) {
    EXPECT_FALSE(Prefix::parse(text)) << text;
  }
  EXPECT_EQ(Prefix::parse("10.0.0.0/40").error().message(), "\"10.0.0.0/40\" is not a prefix (0-32 bits)");
}

}  // namespace
}  // namespace fairlead::net
