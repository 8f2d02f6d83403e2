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

TEST(ParseDuration, ReadsGoStyleDurations) {
  EXPECT_EQ(parse_duration("15m"), 15min);
  EXPECT_EQ(parse_duration("1h30m"), 90min);
  EXPECT_EQ(parse_duration("250ms"), 250ms);
  for (const char* text : {"", "15", "m", "-1s", "1d", "1s ", "99999999h"})
    EXPECT_EQ(parse_duration(text), std::nullopt);
}

}  // namespace
}  // namespace fairlead::agent
