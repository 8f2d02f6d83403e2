// Directory: a network's state directory, byte for byte as the reference host-local plugin keeps it
// (containernetworking plugins v1.1.1, plugins/ipam/host-local/backend/disk/backend.go), so that either can go on after
// the other:
//   <address>              one reservation: "<container id>\r\n<interface>"; old versions wrote the id alone
//   last_reserved_ip.<n>   the address that range set n handed out last
//   lock                   flock(2) while anything is read or changed
//   .fairlead-boot         ours: "boot <boot id>": what was left by earlier boots is gone. No reservation can read so.
// A reservation appears whole or not at all: it is written without a name and then linked.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "ipam/index.h"
#include "net/ip.h"

namespace fairlead::ipam {

// Who writes holds the lock, and so does the reference plugin: what is empty was left by one that died.
enum class Content : std::uint8_t { Holder, Empty, Unreadable, Foreign };  // Foreign: no regular file, or a large one

struct Found {
  net::Ip address;
  Content content = Content::Holder;
  std::string holder;        // without white space around it
  std::int64_t written = 0;  // seconds since 1970
};

class Directory {
 public:
  // Opens and locks; waits for whoever has the lock. Absent when there is no such directory and `make` is false.
  // Unlocked by destruction. Errors of every function here carry the errno and name the path.
  static Result<std::optional<Directory>> open(const std::string& path, bool make);

  const std::string& path() const { return path_; }

  Result<std::vector<Found>> list() const;  // with contents: one open per reservation
  Result<std::vector<net::Ip>> addresses() const;
  Result<Found> read(const net::Ip& address) const;  // ENOENT: not reserved

  // False when somebody holds it.
  Result<bool> reserve(const net::Ip& address, std::string_view holder) const;
  // No error when there is none.
  Status release(const net::Ip& address) const;

  std::optional<net::Ip> last(std::size_t set) const;
  // A hint for the next one: failing to write it is no error.
  void set_last(std::size_t set, const net::Ip& address) const;

  std::optional<std::string> boot() const;
  void set_boot(std::string_view boot_id) const;  // failing: it is judged once more next time

  Result<Mark> mark() const;  // as it is now
  // A change time in the past that nobody else would give it: any later change of names shows. Absent where the file
  // system does not keep it as it is (whole seconds, read-only).
  std::optional<Mark> next_mark() const;
  bool apply(const Mark& mark) const;

 private:
  Directory(std::string path, base::Fd directory, base::Fd lock)
      : path_(std::move(path)), directory_(std::move(directory)), lock_(std::move(lock)) {}
  Error error(std::string_view name, int errno_value) const;
  Result<base::Fd> write_unnamed(std::string_view content) const;
  Result<bool> reserve_by_name(const std::string& name, std::string_view holder) const;

  std::string path_;
  base::Fd directory_;
  base::Fd lock_;
};


// The names of reservations in an unlocked directory, and whether it is of this boot; for who must not wait.
Result<std::vector<net::Ip>> list_addresses(int directory_fd, const std::string& path);
std::optional<std::string> read_boot(int directory_fd);
Mark mark_of(const struct stat& status);

}  // namespace fairlead::ipam
