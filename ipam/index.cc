#include "ipam/index.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/fd.h"
#include "base/strings.h"

namespace fairlead::ipam {
namespace {

constexpr std::uint64_t kMagic = 0x31786469'6d617066;  // "fpamidx1"
constexpr unsigned kBlockBits = 12;                    // addresses of one block, as a power of two
constexpr std::size_t kWords = (std::size_t{1} << kBlockBits) / 64;
constexpr std::size_t kFewest = 8;      // slots of a table
constexpr std::size_t kMost = 1 << 26;  // a longer table is a damaged one

std::uint64_t mixed(std::uint64_t x) {  // the finaliser of MurmurHash3
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdULL;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

std::uint64_t low(Number number) { return static_cast<std::uint64_t>(number); }
std::uint64_t high(Number number) { return static_cast<std::uint64_t>(number >> 64); }

// A table that holds `used` and takes as many again before it is half full.
std::size_t slots_for(std::size_t used) { return std::bit_ceil(std::max(kFewest, used * 4)); }

}  // namespace

struct Index::Header {
  std::uint64_t magic;
  char boot_id[40];
  std::uint64_t block_slots, block_count;
  std::uint64_t holding_slots, holding_count;
  Mark mark;
};

// A slot of either table is free when its check is 0; else the check belongs to what else is in it.
struct Index::Block {
  std::uint64_t check;
  std::uint64_t high, low;
  std::uint64_t words[kWords];

  Number number() const { return static_cast<Number>(high) << 64 | low; }
  std::uint64_t right_check() const {
    std::uint64_t sum = mixed(high ^ mixed(low));
    for (const std::uint64_t word : words) sum = (sum ^ word) * 0x9e3779b97f4a7c15ULL;
    return mixed(sum) | 1;
  }
};

struct Index::Holding {
  std::uint64_t check;
  std::uint64_t holder;
  std::uint64_t high, low;

  net::Ip address() const { return to_ip(static_cast<Number>(high) << 64 | low); }
  std::uint64_t right_check() const { return mixed(holder ^ mixed(high ^ mixed(low))) | 1; }
  bool sound() const { return check == (check == 0 ? holder | high | low : right_check()); }
};

std::uint64_t holder_key(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash == 0 ? 1 : hash;
}

Index::Index(Index&& other) noexcept
    : path_(std::move(other.path_)),
      memory_(std::exchange(other.memory_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      damaged_(other.damaged_) {}

Index& Index::operator=(Index&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(memory_, other.memory_);
  std::swap(size_, other.size_);
  std::swap(damaged_, other.damaged_);
  return *this;
}

Index::~Index() {
  if (memory_ != nullptr) ::munmap(memory_, size_);
}

Index::Header& Index::header() const { return *static_cast<Header*>(memory_); }
Index::Block* Index::blocks() const { return reinterpret_cast<Block*>(static_cast<char*>(memory_) + sizeof(Header)); }
Index::Holding* Index::holdings() const { return reinterpret_cast<Holding*>(blocks() + header().block_slots); }
std::size_t Index::home(const Holding& holding) const { return holding.holder & (header().holding_slots - 1); }

std::optional<Index> Index::open(const std::string& path, std::string_view boot_id) {
  const base::Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0 || status.st_size < static_cast<off_t>(sizeof(Header)))
    return std::nullopt;
  Index index;
  index.path_ = path;
  index.size_ = static_cast<std::size_t>(status.st_size);
  void* const memory = ::mmap(nullptr, index.size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) return std::nullopt;
  index.memory_ = memory;
  const Header& header = index.header();
  const auto sane = [](std::uint64_t slots, std::uint64_t count) {
    return std::has_single_bit(slots) && slots >= kFewest && slots <= kMost && count <= slots / 2;
  };
  const std::string_view boot(header.boot_id, ::strnlen(header.boot_id, sizeof header.boot_id));
  if (header.magic != kMagic || boot != boot_id.substr(0, sizeof header.boot_id) ||
      !sane(header.block_slots, header.block_count) || !sane(header.holding_slots, header.holding_count) ||
      index.size_ != sizeof(Header) + header.block_slots * sizeof(Block) + header.holding_slots * sizeof(Holding)) {
    return std::nullopt;
  }
  return index;
}

Result<Index> Index::create(const std::string& path, std::string_view boot_id, std::size_t block_slots,
                            std::size_t holding_slots) {
  Index index;
  index.size_ = sizeof(Header) + block_slots * sizeof(Block) + holding_slots * sizeof(Holding);
  // Beside the old one, which a STATUS may be reading.
  const std::string fresh = base::cat(path, ".new");
  constexpr int kFlags = O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
  const base::Fd fd(path.empty() ? -1 : ::open(fresh.c_str(), kFlags, 0600));
  // All of it now: a page that cannot be had later would be a SIGBUS.
  const bool kept = fd && ::posix_fallocate(fd.get(), 0, static_cast<off_t>(index.size_)) == 0;
  void* const memory = ::mmap(nullptr, index.size_, PROT_READ | PROT_WRITE,
                              kept ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, kept ? fd.get() : -1, 0);
  if (fd && !kept) ::unlink(fresh.c_str());
  if (memory == MAP_FAILED) return Error::from_errno("the index of a state directory", errno);
  index.memory_ = memory;
  Header& header = index.header();
  header.magic = kMagic;
  boot_id.copy(header.boot_id, sizeof header.boot_id);
  header.block_slots = block_slots;
  header.holding_slots = holding_slots;
  header.mark = Mark();
  if (kept) index.path_ = path;
  return index;
}

Result<Index> Index::build(const std::string& path, std::string_view boot_id, const std::vector<Entry>& entries) {
  std::vector<Number> blocks;
  for (const Entry& entry : entries) blocks.push_back(to_number(entry.address) >> kBlockBits);
  std::sort(blocks.begin(), blocks.end());
  const auto block_count = static_cast<std::size_t>(std::unique(blocks.begin(), blocks.end()) - blocks.begin());
  Index index = TRY(create(path, boot_id, slots_for(block_count), slots_for(entries.size())));
  for (const Entry& entry : entries) index.insert(entry);
  if (!index.path_.empty() && ::rename(base::cat(path, ".new").c_str(), path.c_str()) != 0) index.path_.clear();
  return index;
}

Mark Index::mark() const { return header().mark; }
void Index::set_mark(const Mark& mark) { header().mark = mark; }

Index::Block* Index::find_block(Number number) const {
  const Number wanted = number >> kBlockBits;
  const std::size_t mask = header().block_slots - 1;
  std::size_t slot = mixed(low(wanted) ^ high(wanted)) & mask;
  for (std::size_t tries = 0; tries <= mask; ++tries, slot = (slot + 1) & mask) {
    Block& block = blocks()[slot];
    if (block.check == 0) return nullptr;
    if (block.number() != wanted) continue;
    damaged_ |= block.check != block.right_check();
    return &block;
  }
  return nullptr;
}

Index::Block* Index::find_or_make_block(Number number) {
  if (Block* const found = find_block(number)) return found;
  const Number wanted = number >> kBlockBits;
  const std::size_t mask = header().block_slots - 1;
  std::size_t slot = mixed(low(wanted) ^ high(wanted)) & mask;
  for (std::size_t tries = 0; tries <= mask; ++tries, slot = (slot + 1) & mask) {
    Block& block = blocks()[slot];
    if (block.check != 0) continue;
    block = Block{0, high(wanted), low(wanted), {}};
    block.check = block.right_check();
    ++header().block_count;
    return &block;
  }
  return nullptr;
}

void Index::insert(const Entry& entry) {
  const Number number = to_number(entry.address);
  if (Block* const block = find_or_make_block(number)) {
    block->words[low(number) / 64 % kWords] |= std::uint64_t{1} << (low(number) % 64);
    block->check = block->right_check();
  }
  if (entry.holder == 0) return;
  const std::size_t mask = header().holding_slots - 1;
  Holding holding{0, entry.holder, high(number), low(number)};
  holding.check = holding.right_check();
  std::size_t slot = home(holding);
  for (std::size_t tries = 0; tries <= mask; ++tries, slot = (slot + 1) & mask) {
    if (holdings()[slot].check != 0) continue;
    holdings()[slot] = holding;
    ++header().holding_count;
    return;
  }
}

Status Index::add(const Entry& entry) {
  if (header().holding_count + 1 > header().holding_slots / 2 || header().block_count + 1 > header().block_slots / 2) {
    TRY(grow());
  }
  insert(entry);
  return {};
}

Status Index::grow() {
  std::vector<const Block*> live;  // a block stays when its last address goes
  for (std::size_t slot = 0; slot < header().block_slots; ++slot) {
    const Block& block = blocks()[slot];
    const bool empty = std::all_of(block.words, block.words + kWords, [](std::uint64_t word) { return word == 0; });
    if (block.check != 0 && !empty) live.push_back(&block);
  }
  const std::string path = path_;
  const std::string_view boot(header().boot_id, ::strnlen(header().boot_id, sizeof header().boot_id));
  Index bigger = TRY(create(path, boot, slots_for(live.size() + 1), slots_for(header().holding_count + 1)));
  for (const Block* block : live) {
    Block* const copy = bigger.find_or_make_block(block->number() << kBlockBits);
    if (copy == nullptr) continue;
    std::copy(block->words, block->words + kWords, copy->words);
    copy->check = copy->right_check();
  }
  for (std::size_t slot = 0; slot < header().holding_slots; ++slot) {
    const Holding& holding = holdings()[slot];
    if (holding.check != 0) bigger.insert({holding.address(), holding.holder});
  }
  if (!bigger.path_.empty() && ::rename(base::cat(path, ".new").c_str(), path.c_str()) != 0) bigger.path_.clear();
  bigger.damaged_ |= damaged_;
  *this = std::move(bigger);
  return {};
}

void Index::remove(const Entry& entry) {
  const Number number = to_number(entry.address);
  if (Block* const block = find_block(number)) {
    block->words[low(number) / 64 % kWords] &= ~(std::uint64_t{1} << (low(number) % 64));
    block->check = block->right_check();
  }
  const std::size_t mask = header().holding_slots - 1;
  std::size_t slot = entry.holder & mask;
  for (std::size_t tries = 0;; ++tries, slot = (slot + 1) & mask) {
    const Holding& holding = holdings()[slot];
    damaged_ |= !holding.sound();
    if (tries > mask || holding.check == 0) return;
    if (holding.holder == entry.holder && holding.high == high(number) && holding.low == low(number)) break;
  }
  // What follows moves up (Knuth, vol. 3, 6.4, algorithm R), so that no look-up meets a hole before what it wants.
  std::size_t hole = slot;
  for (std::size_t tries = 0; tries < mask; ++tries) {
    slot = (slot + 1) & mask;
    if (holdings()[slot].check == 0) break;
    const std::size_t from_home = (slot - home(holdings()[slot])) & mask;
    if (from_home < ((slot - hole) & mask)) continue;
    holdings()[hole] = holdings()[slot];
    hole = slot;
  }
  holdings()[hole] = Holding{};
  --header().holding_count;
}

std::vector<net::Ip> Index::held_by(std::uint64_t holder) const {
  std::vector<net::Ip> found;
  const std::size_t mask = header().holding_slots - 1;
  std::size_t slot = holder & mask;
  for (std::size_t tries = 0; tries <= mask; ++tries, slot = (slot + 1) & mask) {
    const Holding& holding = holdings()[slot];
    damaged_ |= !holding.sound();
    if (holding.check == 0) break;
    if (holding.holder == holder) found.push_back(holding.address());
  }
  return found;
}

std::optional<Number> Index::first_free(Number from, Number to) const {
  constexpr Number kOffsets = (Number{1} << kBlockBits) - 1;
  for (Number at = from;;) {
    const Block* const block = find_block(at);
    if (block == nullptr) return at;
    for (std::size_t offset = low(at & kOffsets); offset <= low(kOffsets); offset = (offset | 63) + 1) {
      const std::uint64_t taken = block->words[offset / 64] | ((std::uint64_t{1} << (offset % 64)) - 1);
      if (taken == ~std::uint64_t{0}) continue;
      const Number free =
          (at & ~kOffsets) + (offset & ~std::size_t{63}) + static_cast<unsigned>(std::countr_one(taken));
      return free <= to ? std::optional(free) : std::nullopt;
    }
    const Number end = at | kOffsets;
    if (end >= to) return std::nullopt;
    at = end + 1;
  }
}

Number Index::count(Number from, Number to) const {
  Number sum = 0;
  for (std::size_t slot = 0; slot < header().block_slots; ++slot) {
    const Block& block = blocks()[slot];
    const Number base = block.number() << kBlockBits;
    if (block.check == 0 || base > to || (base | ((Number{1} << kBlockBits) - 1)) < from) continue;
    for (std::size_t word = 0; word < kWords; ++word) {
      std::uint64_t bits = block.words[word];
      const Number first = base + word * 64;
      if (first > to || first + 63 < from) continue;
      if (first < from) bits &= ~std::uint64_t{0} << low(from - first);
      if (first + 63 > to) bits &= ~std::uint64_t{0} >> (63 - low(to - first));
      sum += static_cast<unsigned>(std::popcount(bits));
    }
  }
  return sum;
}

}  // namespace fairlead::ipam
