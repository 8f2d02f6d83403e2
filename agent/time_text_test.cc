#include "agent/time_text.h"

#include <gtest/gtest.h>

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;

TEST(Rfc3339, RoundTripsToTheNanosecond) {
  const base::WallTime time(std::chrono::duration_cast<base::WallTime::duration>(1777636800s + 123456789ns));
  EXPECT_EQ(format_rfc3339(time), "2026-05-01T12:00:00.123456789Z");
  EXPECT_EQ(parse_rfc3339("2026-05-01T12:00:00.123456789Z"), time);
}

TEST(Rfc3339, ReadsOffsetsAndMissingFractions) {
  const base::WallTime time(1777636800s);
  EXPECT_EQ(parse_rfc3339("2026-05-01T12:00:00Z"), time);
  EXPECT_EQ(parse_rfc3339("2026-05-01T14:30:00+02:30"), time);
  EXPECT_EQ(parse_rfc3339("2026-05-01T11:00:00.0-01:00"), time);
}

TEST(Rfc3339, RefusesWhatIsMalformed) {
  for (const char* text : {"", "yesterday", "2026-05-01", "2026-05-01T12:00:00", "2026-13-01T12:00:00Z",
                           "2026-05-01T24:00:00Z", "2026-05-01T12:00:00.Z", "2026-05-01T12:00:00Zz"}) {
    EXPECT_EQ(parse_rfc3339(text), std::nullopt) << text;
  }
}

TEST(ParseDuration, ReadsDurationsAsGoDoes) {
  EXPECT_EQ(parse_duration("15m"), 15min);
  EXPECT_EQ(parse_duration("1h30m"), 90min);
  EXPECT_EQ(parse_duration("250ms"), 250ms);
  EXPECT_EQ(parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(parse_duration(".5m2us1ns"), 30s + 2us + 1ns);
  EXPECT_EQ(parse_duration("3\u00b5s"), 3us);
  EXPECT_EQ(parse_duration("-1s"), -1s);
  EXPECT_EQ(parse_duration("0"), 0s);
  for (const char* text : {"", "-", "15", "m", "1d", "1s ", ".s", "99999999h", "9999999999999999999s", "2562047h48m"})
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
}

TEST(FormatDuration, WritesDurationsAsGoDoes) {
  EXPECT_EQ(format_duration(24h), "24h0m0s");
  EXPECT_EQ(format_duration(15min), "15m0s");
  EXPECT_EQ(format_duration(30s), "30s");
  EXPECT_EQ(format_duration(90min + 1500ms), "1h30m1.5s");
  EXPECT_EQ(format_duration(250ms), "250ms");
  EXPECT_EQ(format_duration(1500ns), "1.5\u00b5s");
  EXPECT_EQ(format_duration(7ns), "7ns");
  EXPECT_EQ(format_duration(-1s), "-1s");
  EXPECT_EQ(format_duration(0s), "0s");
  EXPECT_EQ(format_duration(base::Duration::min()), "-2562047h47m16.854775808s");
}

}  // namespace
}  // namespace fairlead::agent
