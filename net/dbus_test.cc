// D-Bus messages without a bus.
#include "net/dbus.h"

#include <gtest/gtest.h>

namespace fairlead::net::dbus {
namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const int v : values) out += static_cast<char>(v);
  return out;
}
void put(std::string& out, std::uint32_t value, bool big) {
  for (unsigned i = 0; i < 4; ++i) out += static_cast<char>(value >> 8 * (big ? 3 - i : i) & 0xff);
}
std::string reply(bool big, int type, const std::string& signature, const std::string& body) {
  std::string fields = bytes({5, 1, 'u', 0});  // REPLY_SERIAL
  put(fields, 7, big);
  if (type == 3) {
    fields += bytes({4, 1, 's', 0});  // ERROR_NAME
    put(fields, 3, big);
    fields += std::string("a.b\0", 4) + std::string(4, '\0');
  }
  fields += bytes({8, 1, 'g', 0, static_cast<int>(signature.size())}) + signature + '\0';
  std::string out = bytes({big ? 'B' : 'l', type, 0, 1});
  put(out, static_cast<std::uint32_t>(body.size()), big);
  put(out, 1, big);
  put(out, static_cast<std::uint32_t>(fields.size()), big);
  out += fields;
  out.resize((out.size() + 7) / 8 * 8, '\0');
  return out + body;
}
std::string text_body(const std::string& text, bool big) {
  std::string out;
  put(out, static_cast<std::uint32_t>(text.size()), big);
  return out + text + '\0';
}

TEST(Dbus, ACallIsAHeaderOfFieldsAndItsStrings) {
  const std::string call = encode_call(9, {"a.S", "/a/S", "a.I", "Do"}, {"one", "two"});
  EXPECT_EQ(call.substr(0, 4), bytes({'l', 1, 0, 1}));
  EXPECT_EQ(call.substr(4, 4), bytes({16, 0, 0, 0}));
  EXPECT_EQ(call.substr(8, 4), bytes({9, 0, 0, 0}));
  EXPECT_EQ(call.substr(16, 13), bytes({1, 1, 'o', 0, 4, 0, 0, 0, '/', 'a', '/', 'S', 0}));
  EXPECT_EQ(call.substr(call.size() - 16), bytes({3, 0, 0, 0, 'o', 'n', 'e', 0, 3, 0, 0, 0, 't', 'w', 'o', 0}));
}

TEST(Dbus, AnswersOfBothByteOrdersAreRead) {
  for (const bool big : {false, true}) {
    const std::string text = reply(big, 2, "s", text_body("trusted", big));
    const auto message = decode(text + "more").value();
    ASSERT_TRUE(message);
    EXPECT_EQ(message->reply_to, 7U);
    EXPECT_EQ(message->text, "trusted");
    EXPECT_EQ(message->error, "");
    EXPECT_EQ(message->size, text.size());
    std::string yes;
    put(yes, 1, big);
    EXPECT_TRUE(decode(reply(big, 2, "b", yes)).value()->truth);
    const auto error = decode(reply(big, 3, "s", text_body("NO: why", big))).value();
    EXPECT_EQ(error->error, "a.b");
    EXPECT_EQ(error->text, "NO: why");
  }
}

TEST(Dbus, APartOfAMessageIsWaitedForAndNonsenseIsAnError) {
  const std::string whole = reply(false, 2, "s", text_body("trusted", false));
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(decode(whole.substr(0, size)).value()) << size;
  EXPECT_FALSE(decode("HTTP/1.1 400 Bad"));
  std::string large = whole;
  large[7] = '\x40';
  EXPECT_FALSE(decode(large));
  EXPECT_FALSE(decode(reply(false, 2, "s", bytes({9, 0, 0, 0, 'x'})))) << "a string that is longer than its message";
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string bent = whole;
    bent[at] = static_cast<char>(bent[at] ^ 0xff);
    (void)decode(bent).has_value();
  }
}

TEST(Dbus, TheBusIsWhereItsAddressSays) {
  using Paths = std::vector<std::string>;
  EXPECT_EQ(system_bus_paths(nullptr), (Paths{"/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket"}));
  EXPECT_EQ(system_bus_paths("tcp:host=x;unix:guid=1,path=/a;unix:abstract=b"), (Paths{"/a", "@b"}));
}

}  // namespace
}  // namespace fairlead::net::dbus
