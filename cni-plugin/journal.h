// journal: the write-ahead record of one plugin's work for one attachment, a file under World::run_dir. It is there
// before the first change outside the container's network namespace and goes after the last, and holds what a DEL
// needs. So whatever is cut off, the next ADD, DEL, GC or sweep finds it and takes it away.
//
// A record belongs to one attachment alone: calls for different ones never wait for each other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "cni-plugin/invocation.h"

namespace fairlead::cni {

enum class State : std::uint8_t { Adding, Ready, Deleting };
std::string_view to_string(State state);  // "adding", ...

// Which network namespace a path leads to. The kernel gives the inode of a namespace that is gone to the next one, the
// cookie (SO_NETNS_COOKIE, linux v5.14) never again in that boot. All zero: there is certainly none.
struct NetnsIdentity {
  std::uint64_t inode = 0;
  std::uint64_t cookie = 0;  // 0: the kernel has none
  bool operator==(const NetnsIdentity&) const = default;
};
// An Error when it cannot be told: no right to open or enter it, no descriptor left.
Result<NetnsIdentity> identify_netns(const std::string& path);

// The namespaces a process runs in, by inode. From others the recorded paths lead elsewhere: a netns that seems gone
// need not be, and what a DEL would take away is not there.
struct Home {
  std::uint64_t mount_namespace = 0;
  std::uint64_t network_namespace = 0;
  bool operator==(const Home&) const = default;
};
Home own_home();

struct Record {
  State state = State::Adding;
  std::string boot_id;
  std::string plugin;
  std::string network;
  NetnsIdentity netns;
  Home home;
  Environment environment;  // CNI_CONTAINERID, CNI_IFNAME, CNI_NETNS, CNI_ARGS, CNI_PATH of the ADD
  std::string stdin_text;   // of the ADD
  Attachment attachment() const;
  bool operator==(const Record&) const = default;
};

Result<Record> record_of(const Call& call, const World& world);
std::string to_json(const Record& record);
Result<Record> parse_record(std::string_view text);

// The DEL that takes away what `record` is about. Its netns is empty when the recorded one is no more: the path may be
// another container's by now.
Result<Call> del_of(const Plugin& plugin, const Record& record, const World& world);

// Why what it is about cannot be alive: another boot, or its network namespace is gone. Empty: it may be. An Error:
// it cannot be told, and so it may be too.
Result<std::string> why_dead(const Record& record, const World& world);
bool is_dead(const Record& record, const World& world);          // and that is certain
bool of_another_boot(const Record& record, const World& world);  // both boots are known, and differ

std::string record_path(const World& world, std::string_view plugin, const Attachment& attachment);
std::vector<std::string> list_records(const World& world, const std::string& network);
std::vector<std::string> list_all_records(const World& world);
// Whether it is a path that list_all_records() could give.
bool is_record_path(const World& world, std::string_view path);

// A record's place, locked for as long as this lives.
class Entry {
 public:
  enum class IfBusy { Wait, Refuse };
  // What stands at `path`; it may be nothing. What is no record is renamed to <path>.bad and counts as nothing;
  // warning() says so. With Refuse an Error EWOULDBLOCK when another call has it.
  static Result<Entry> open(std::string path, IfBusy busy = IfBusy::Wait);

  const std::string& path() const { return path_; }
  const std::optional<Record>& record() const { return record_; }
  const std::string& warning() const { return warning_; }  // empty: none

  Status create(const Record& record);  // REQUIRES that there is none
  Status set_state(State state);        // REQUIRES that there is one
  Status remove();                      // REQUIRES that there is one

 private:
  explicit Entry(std::string path) : path_(std::move(path)) {}
  std::string path_;
  base::Fd fd_;
  std::optional<Record> record_;
  std::string warning_;
};

}  // namespace fairlead::cni
