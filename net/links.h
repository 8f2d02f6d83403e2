// links: the interfaces and local addresses of the calling thread's network namespace, and word when they change.
//
// rtnetlink through libnl, which stays inside links.cc. list_links() is a handful of dumps (about a millisecond for
// some hundred interfaces); LinkWatch says only "look again", so that a lost notification cannot leave a reader wrong.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/ip.h"

namespace fairlead::net {

struct Link {
  std::uint32_t index = 0;
  std::string name;
  bool loopback = false;
  bool ethernet = false;     // frames have an Ethernet header
  std::uint32_t master = 0;  // 0: none
  std::string master_kind;   // "bridge", "bond", ...: what the link is enslaved to; empty without a master
  std::uint32_t mtu = 0;
  bool operator==(const Link&) const = default;
};

struct LocalAddress {
  Ip address;
  std::uint32_t link = 0;
  bool global = false;  // scope universe or site: others may reach it
  bool operator==(const LocalAddress&) const = default;
};

struct Links {
  std::vector<Link> links;              // by index
  std::vector<LocalAddress> addresses;  // by link, then as the kernel lists them: the primary address first
  bool operator==(const Links&) const = default;
};

Result<Links> list_links();
Result<std::vector<Ip>> local_addresses();  // of all links

// The local address the kernel gives to packets that leave by the default route; nothing without such a route.
Result<std::optional<Ip>> default_source(Family family);

class LinkWatch {
 public:
  // Watches the namespace of the calling thread, wherever it is used afterwards.
  static Result<LinkWatch> open();
  LinkWatch(LinkWatch&&) noexcept;
  LinkWatch& operator=(LinkWatch&&) noexcept;
  ~LinkWatch();

  int fd() const;  // readable: links or addresses may have changed; then drain() and list_links()
  Status drain();

 private:
  struct Socket;
  explicit LinkWatch(std::unique_ptr<Socket> socket);
  std::unique_ptr<Socket> socket_;
};

}  // namespace fairlead::net
