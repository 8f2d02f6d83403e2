// As much of D-Bus as a plugin needs that asks one service of the system bus a few questions: calls with strings,
// answers of one string or one truth (D-Bus Specification 0.41). The static CNI binary has no libdbus to link.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace fairlead::net::dbus {

struct Method {
  std::string service, path, interface, name;
};

// A method call, little-endian.
std::string encode_call(std::uint32_t serial, const Method& method, const std::vector<std::string>& arguments);

struct Message {
  std::uint32_t reply_to = 0;  // 0: no reply (a signal, ...)
  std::string error;           // name of the error; empty: it went well
  std::string text;            // the first value, when it is a string; of an error what it says
  bool truth = false;          // the first value, when it is a boolean
  std::size_t size = 0;        // of the bytes it was read from
};
// None when more bytes are needed. An Error when it is no message, or one of more than 1 MiB.
Result<std::optional<Message>> decode(std::string_view bytes);

// Paths in the order to be tried: of DBUS_SYSTEM_BUS_ADDRESS (unix:path=, unix:abstract= as "@..."), else the usual.
std::vector<std::string> system_bus_paths(const char* address);

class Bus {
 public:
  // None when there is no bus at any of the paths.
  static Result<std::optional<Bus>> open(const std::vector<std::string>& paths, std::chrono::milliseconds limit);

  // Answers with an error in it are no Error here. All calls together take no longer than the limit of open().
  Result<Message> call(const Method& method, const std::vector<std::string>& arguments);
  Result<bool> has_owner(const std::string& service);

 private:
  Bus(base::Fd socket, std::chrono::steady_clock::time_point deadline)
      : socket_(std::move(socket)), deadline_(deadline) {}
  Status send(std::string_view bytes);
  Status receive();
  Status authenticate();

  base::Fd socket_;
  std::chrono::steady_clock::time_point deadline_;
  std::uint32_t serial_ = 0;
  std::string received_;
};

}  // namespace fairlead::net::dbus
