// Index: what a state directory holds, as a table in a mapped file, so that a process that lives for one call finds a
// free address, or the addresses of a container, without reading the directory. It is a copy and nothing depends on it:
// the store believes it only while the directory carries the mark that was written with it, and builds it anew else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ipam/allocator.h"

namespace fairlead::ipam {

// Which directory it is a copy of, and when: the change time that we gave the directory ourselves after the last
// change.
struct Mark {
  std::uint64_t device = 0, inode = 0;
  std::int64_t seconds = 0;
  std::int64_t nanoseconds = -1;  // -1: none
  bool operator==(const Mark&) const = default;
};

struct Entry {
  net::Ip address;
  std::uint64_t holder = 0;  // holder_key() of the reservation's content; 0: unknown
};

// Of the text that a reservation holds; never 0.
std::uint64_t holder_key(std::string_view text);

class Index final : public Held {
 public:
  // Absent when there is none, or none of this format and boot.
  static std::optional<Index> open(const std::string& path, std::string_view boot_id);
  // Replaces the one at `path`. Where that cannot be written it is kept in this process alone.
  static Result<Index> build(const std::string& path, std::string_view boot_id, const std::vector<Entry>& entries);

  Index(Index&& other) noexcept;
  Index& operator=(Index&& other) noexcept;
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;
  ~Index() override;

  Mark mark() const;
  void set_mark(const Mark& mark);

  // An Error only when it had to grow and there is no memory.
  Status add(const Entry& entry);
  void remove(const Entry& entry);
  // Whether something that was met on the way is not as it was written; what was answered is worth nothing then.
  bool damaged() const { return damaged_; }
  std::vector<net::Ip> held_by(std::uint64_t holder) const;

  std::optional<Number> first_free(Number from, Number to) const override;
  Number count(Number from, Number to) const override;

 private:
  struct Header;
  struct Block;
  struct Holding;
  Index() = default;
  static Result<Index> create(const std::string& path, std::string_view boot_id, std::size_t blocks,
                              std::size_t holdings);
  Status grow();
  void insert(const Entry& entry);

  Header& header() const;
  Block* blocks() const;
  Holding* holdings() const;
  Block* find_block(Number number) const;    // null: nothing of it is held
  Block* find_or_make_block(Number number);  // null: no room
  std::size_t home(const Holding& holding) const;

  std::string path_;  // empty: in this process alone
  void* memory_ = nullptr;
  std::size_t size_ = 0;
  mutable bool damaged_ = false;
};

}  // namespace fairlead::ipam
