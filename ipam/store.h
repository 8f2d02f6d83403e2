// Store: the addresses of one network on this node, as the host-local plugin keeps them (directory.h), found in
// constant time (index.h) and given in turn (allocator.h). One object is one locked transaction of one process.
//
// errno_value() of an Error says what went wrong: EADDRNOTAVAIL nothing is left, EADDRINUSE the wanted address is held,
// EEXIST this container has one already, EINVAL the wanted address is none of the ranges'; any other came from the
// disk.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "ipam/boot.h"
#include "ipam/directory.h"
#include "ipam/index.h"
#include "ipam/ranges.h"

namespace fairlead::ipam {

struct Place {
  std::string data_dir;  // absolute: "/var/lib/cni/networks"
  std::string network;   // REQUIRES no '/' in it
  std::string run_dir;   // for the index; lives as long as the boot
  Boot boot;
  std::string directory() const { return data_dir + "/" + network; }
};

struct Holder {
  std::string container_id;
  std::string ifname;
  std::string text() const { return container_id + "\r\n" + ifname; }
  auto operator<=>(const Holder&) const = default;
};

struct Lease {
  net::InterfaceAddress address;  // with the subnet's length
  net::Ip gateway;
  bool operator==(const Lease&) const = default;
};

class Store {
 public:
  // Waits for the lock. What earlier boots and writers that died have left is taken away on the way.
  static Result<Store> open(const Place& place);                          // makes the directory
  static Result<std::optional<Store>> open_existing(const Place& place);  // absent: no directory, so nothing is held

  // One address of each set, in order; of `wanted`, those that lie in it. Nothing is kept of a failure.
  Result<std::vector<Lease>> allocate(const Holder& holder, const std::vector<RangeSet>& sets,
                                      const std::vector<net::Ip>& wanted = {});
  // Everything it holds; no error when that is nothing. Goes on after an error and tells the first.
  Status release(const Holder& holder);
  Result<bool> holds(const Holder& holder);
  // Gives back what nobody of `alive` holds.
  Status keep_only(const std::set<Holder>& alive);

 private:
  Store(const Place& place, Directory directory) : place_(place), directory_(std::move(directory)) {}
  struct Owned {
    std::vector<net::Ip> addresses;
    std::string text;  // as their files say: old versions wrote the container's id alone
  };
  Status load();
  Status rebuild();
  void finish();  // marks the directory as the index has it
  Result<Owned> owned_by(const Holder& holder);
  std::optional<std::vector<net::Ip>> confirmed(std::string_view text) const;
  Result<Lease> allocate_one(const Holder& holder, const RangeSet& set, std::size_t number,
                             const std::vector<net::Ip>& wanted);
  Result<net::Ip> reserve_next(const std::string& text, const RangeSet& set, std::size_t number);
  Result<bool> reserve(const std::string& text, const net::Ip& address);
  Status give_back(const std::vector<net::Ip>& addresses, const std::string& text);
  Status unreadable_error() const;

  Place place_;
  Directory directory_;
  std::optional<Index> index_;
  bool rebuilt_ = false;  // by this object, so that it is the directory's truth
  std::vector<net::Ip> unreadable_;
};

// Whether the next allocate() of these sets can be served. Takes no lock and writes nothing; in constant time but for
// the first time after another plugin changed the directory.
Status available(const Place& place, const std::vector<RangeSet>& sets);

}  // namespace fairlead::ipam
