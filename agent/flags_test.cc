#include "agent/flags.h"

#include <gtest/gtest.h>

namespace fairlead::agent {
namespace {

std::vector<Flag> flags() {
  return {
      {"cluster-cidr", "CIDR", "Where pods are", 0}, {"masquerade-all", "", "All of it", 0}, {"v", "N", "More", 'v'}};
}

// "cluster-cidr=10.0.0.0/8 [word]", or "error: ...".
std::string read(const std::vector<std::string>& arguments) {
  const auto line = read_command_line(arguments, flags());
  if (!line) return "error: " + line.error().message();
  std::string out;
  for (const Given& given : line->flags) out += std::string(given.name) + "=" + given.value + " ";
  for (const std::string& word : line->words) out += "[" + word + "]";
  return out;
}

TEST(Flags, AValueFollowsAnEqualsSignOrComesNext) {
  EXPECT_EQ(read({"--cluster-cidr=a", "--cluster-cidr", "b"}), "cluster-cidr=a cluster-cidr=b ");
  EXPECT_EQ(read({"--cluster-cidr=a=b"}), "cluster-cidr=a=b ");
}

TEST(Flags, AnEmptyValueIsAValueAndSoIsOneThatLooksLikeAFlag) {
  EXPECT_EQ(read({"--cluster-cidr=", "--v=1"}), "cluster-cidr= v=1 ");
  EXPECT_EQ(read({"--cluster-cidr", "", "--v", "-1"}), "cluster-cidr= v=-1 ");
}

TEST(Flags, ABooleanNeedsNoValueAndTakesOneOnlyAfterAnEqualsSign) {
  EXPECT_EQ(read({"--masquerade-all"}), "masquerade-all=true ");
  EXPECT_EQ(read({"--masquerade-all=false"}), "masquerade-all=false ");
  EXPECT_EQ(read({"--masquerade-all", "false"}), "masquerade-all=true [false]");
}

TEST(Flags, AnUnderscoreInANameIsADash) { EXPECT_EQ(read({"--cluster_cidr=a_b"}), "cluster-cidr=a_b "); }

TEST(Flags, ALetterTakesItsValueInThreeForms) { EXPECT_EQ(read({"-v4", "-v", "5", "-v=6"}), "v=4 v=5 v=6 "); }

TEST(Flags, EverythingAfterTwoDashesIsAWord) { EXPECT_EQ(read({"a", "--", "--v=1"}), "[a][--v=1]"); }

TEST(Flags, WhatIsUnknownOrIncompleteIsNamed) {
  EXPECT_EQ(read({"--bogus=1"}), "error: --bogus: no such flag or command");
  EXPECT_EQ(read({"-x"}), "error: -x: no such flag or command");
  EXPECT_EQ(read({"-cluster-cidr=a"}), "error: -cluster-cidr=a: no such flag or command");
  EXPECT_EQ(read({"--cluster-cidr"}), "error: --cluster-cidr: a value is missing");
}

TEST(Flags, ABooleanIsWrittenAsInGo) {
  for (const char* yes : {"1", "t", "T", "true", "TRUE", "True"}) EXPECT_EQ(parse_bool(yes), true) << yes;
  for (const char* no : {"0", "f", "F", "false", "FALSE", "False"}) EXPECT_EQ(parse_bool(no), false) << no;
  for (const char* neither : {"", "yes", "off", "tRue", "2"}) EXPECT_EQ(parse_bool(neither), std::nullopt) << neither;
}

}  // namespace
}  // namespace fairlead::agent
