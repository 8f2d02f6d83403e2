// Memory for a process that lives two milliseconds: the first MiB comes out of .bss, of which only the pages that are
// touched cost anything. musl's allocator maps and unmaps groups of pages as it goes, 0.3 ms of an ADD.
//
// Blocks are powers of two, and one that was freed serves the next of its size: what runs longer (a GC over all
// records) does not grow. What is larger, or comes when the MiB is used up, is mapped.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace {

constexpr std::size_t kArenaBytes = std::size_t{1} << 20;
constexpr unsigned kSmallest = 5;  // powers of two, heads included
constexpr unsigned kLargest = 17;

// Before each block; as large as the alignment that malloc owes.
struct alignas(std::max_align_t) Head {
  std::size_t bytes = 0;  // of the block with its head

  void* block() { return this + 1; }
  std::size_t room() const { return bytes - sizeof(Head); }
};

struct FreeBlock {
  FreeBlock* next = nullptr;
};

alignas(Head) std::array<std::byte, kArenaBytes> arena;
std::size_t arena_used = 0;
std::array<FreeBlock*, kLargest + 1> free_blocks{};

Head& head_of(void* block) { return *(static_cast<Head*>(block) - 1); }

unsigned power_for(std::size_t bytes) { return std::max(kSmallest, static_cast<unsigned>(std::bit_width(bytes - 1))); }

// nullptr: the arena is used up.
void* small_block(unsigned power) {
  if (FreeBlock* const block = free_blocks[power]) {
    free_blocks[power] = block->next;
    return block;
  }
  const std::size_t bytes = std::size_t{1} << power;
  if (arena.size() - arena_used < bytes) return nullptr;
  Head* const head = ::new (arena.data() + arena_used) Head{bytes};
  arena_used += bytes;
  return head->block();
}

void* mapped_block(std::size_t bytes) {
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  return (::new (memory) Head{bytes})->block();
}

}  // namespace

extern "C" {

void* malloc(std::size_t size) {
  if (size > PTRDIFF_MAX) {
    errno = ENOMEM;
    return nullptr;
  }
  const std::size_t bytes = size + sizeof(Head);
  if (bytes <= std::size_t{1} << kLargest) {
    const unsigned power = power_for(bytes);
    if (void* const block = small_block(power)) return block;
    return mapped_block(std::size_t{1} << power);
  }
  return mapped_block(bytes);
}

// A small one that was mapped, the arena being used up, is kept for the next of its size as well.
void free(void* block) {
  if (block == nullptr) return;
  Head& head = head_of(block);
  if (head.bytes > std::size_t{1} << kLargest) {
    const int before = errno;  // which free() leaves alone
    (void)::munmap(&head, head.bytes);
    errno = before;
    return;
  }
  FreeBlock*& first = free_blocks[power_for(head.bytes)];
  first = ::new (block) FreeBlock{first};
}

void* calloc(std::size_t count, std::size_t size) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) {
    errno = ENOMEM;
    return nullptr;
  }
  void* const block = malloc(bytes);
  if (block != nullptr) std::memset(block, 0, bytes);
  return block;
}

void* realloc(void* block, std::size_t size) {
  if (block == nullptr) return malloc(size);
  const std::size_t room = head_of(block).room();
  if (size <= room) return block;
  void* const larger = malloc(size);
  if (larger == nullptr) return nullptr;
  std::memcpy(larger, block, room);
  free(block);
  return larger;
}

}  // extern "C"
