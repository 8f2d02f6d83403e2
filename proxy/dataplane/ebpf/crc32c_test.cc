// bpf/crc32c.h against the CRC of the whole packet, bit by bit.
#include "bpf/crc32c.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>

namespace fairlead::bpf {
namespace {

std::uint32_t crc32c(const std::string& bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (const char byte : bytes) {
    crc ^= static_cast<std::uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? CRC32C_POLYNOMIAL : 0);
  }
  return ~crc;
}

TEST(Crc32c, IsTheOneOfTheStandard) { EXPECT_EQ(crc32c("123456789"), 0xe3069283U); }  // RFC 3720 B.4's polynomial

TEST(Crc32c, ADifferenceInTheFirstFourBytesIsTheDifferenceOfTheWholeCrc) {
  std::minstd_rand random(1);
  for (std::size_t size : {4U, 5U, 12U, 13U, 64U, 1452U, 9000U, 65535U}) {
    std::string before(size, '\0');
    for (char& byte : before) byte = static_cast<char>(random());
    std::string after = before;
    for (int i = 0; i < 4; ++i) after[static_cast<std::size_t>(i)] = static_cast<char>(random());
    std::uint32_t was = 0;
    std::uint32_t is = 0;
    std::memcpy(&was, before.data(), 4);
    std::memcpy(&is, after.data(), 4);
    EXPECT_EQ(crc32c(before) ^ crc32c_difference(was ^ is, static_cast<std::uint32_t>(size - 4)), crc32c(after))
        << size;
  }
}

TEST(Crc32c, NoDifferenceChangesNothing) { EXPECT_EQ(crc32c_difference(0, 1000), 0U); }

}  // namespace
}  // namespace fairlead::bpf
