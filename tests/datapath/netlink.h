// Netlink: the few rtnetlink requests a testbed needs, several per system call. Interface indices are chosen by the
// caller, so requests can refer to interfaces that earlier requests of the same batch create.
//
// One socket belongs to the namespace it was opened in and works from any thread afterwards.
#pragma once

#include <linux/rtnetlink.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "net/ip.h"

namespace fairlead::testbed {

using Mac = std::array<std::uint8_t, 6>;

struct Interface {
  std::string name;
  int index = 0;
  Mac mac{};
  int netns_fd = -1;  // -1: the socket's namespace
};

struct Route {
  net::Prefix to;              // length 0 with the family of `to.address`: the default route
  std::optional<net::Ip> via;  // absent: on link
  int interface_index = 0;
  std::optional<net::Ip> source;  // preferred source address
  bool blackhole = false;
};

class Netlink {
 public:
  static Result<Netlink> open();  // in the calling thread's network namespace

  // These append to the batch.
  void add_bridge(const Interface& bridge);
  void add_veth(const Interface& here, const Interface& peer, int master_index = 0);
  void set_up(int index);
  void add_address(int index, const net::Ip& address, int length);
  // One that the kernel takes for no connection of its own accord (IPv6: deprecated; IPv4: not the first).
  void add_spare_address(int index, const net::Ip& address);
  void delete_address(int index, const net::Ip& address, int length);
  void add_route(const Route& route);
  void delete_route(const Route& route);
  void add_neighbour(int index, const net::Ip& address, const Mac& mac);  // permanent
  void delete_link(int index);

  // Sends the batch; the Error names the first request that failed.
  Status commit();

  // IF_OPER_* of linux/if.h; the kernel sends nothing through an interface before it is IF_OPER_UP.
  Result<int> operational_state(int index);

 private:
  explicit Netlink(base::Fd socket) : socket_(std::move(socket)) {}
  void begin(std::uint16_t type, std::uint16_t flags, const void* header, std::size_t size, std::string what);
  void begin_link(std::uint16_t type, std::uint16_t flags, int index, unsigned up, std::string what);
  void attribute(std::uint16_t type, const void* data, std::size_t size);
  void attribute(std::uint16_t type, const net::Ip& ip);
  void attribute_text(std::uint16_t type, const std::string& text);
  void attribute_u32(std::uint16_t type, std::uint32_t value);
  std::size_t open_nest(std::uint16_t type);
  void close_nest(std::size_t at);
  void put_route(std::uint16_t type, std::uint16_t flags, const Route& route);
  void finish();

  base::Fd socket_;
  std::vector<std::uint8_t> buffer_;
  std::size_t message_at_ = 0;
  std::uint32_t sequence_ = 0;      // of the last message
  std::vector<std::string> batch_;  // what each pending message does
};

}  // namespace fairlead::testbed
