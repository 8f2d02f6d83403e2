// Memory for a process that lives two milliseconds: the first half MiB comes out of .bss, of which only the pages that
// are touched cost anything. musl's allocator maps and unmaps groups of pages as it goes, 0.3 ms of an ADD.
//
// Blocks are powers of two, and one that was freed serves the next of its size: what runs longer (a GC over all records)
// does not grow. What is larger, or comes when the half MiB is used up, is malloc's.
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

constexpr std::size_t kArenaBytes = std::size_t{512} << 10;
constexpr unsigned kSmallest = 5;  // powers of two, heads included
constexpr unsigned kLargest = 15;
constexpr unsigned kOfMalloc = 0;

// Before each block; as large as the alignment that operator new owes.
struct alignas(std::max_align_t) Head {
  unsigned power = kOfMalloc;
};

struct FreeBlock {
  FreeBlock* next = nullptr;
};

alignas(Head) std::array<std::byte, kArenaBytes> arena;
std::size_t arena_used = 0;
std::array<FreeBlock*, kLargest + 1> free_blocks{};

void* with_head(void* memory, unsigned power) { return ::new (memory) Head{power} + 1; }

// nullptr: the arena is used up.
void* small_block(unsigned power) {
  if (FreeBlock* const block = free_blocks[power]) {
    free_blocks[power] = block->next;
    return block;
  }
  const std::size_t bytes = std::size_t{1} << power;
  if (arena.size() - arena_used < bytes) return nullptr;
  void* const memory = arena.data() + arena_used;
  arena_used += bytes;
  return with_head(memory, power);
}

}  // namespace

void* operator new(std::size_t size) {
  if (size > PTRDIFF_MAX) std::abort();  // the head would not fit
  const std::size_t bytes = size + sizeof(Head);
  if (bytes <= std::size_t{1} << kLargest) {
    const auto power = static_cast<unsigned>(std::bit_width(bytes - 1));
    if (void* const block = small_block(power < kSmallest ? kSmallest : power)) return block;
  }
  void* const memory = std::malloc(bytes);
  if (memory == nullptr) std::abort();  // nobody catches a bad_alloc
  return with_head(memory, kOfMalloc);
}

void operator delete(void* block) noexcept {
  if (block == nullptr) return;
  Head* const head = static_cast<Head*>(block) - 1;
  if (head->power == kOfMalloc) return std::free(head);
  FreeBlock*& first = free_blocks[head->power];
  first = ::new (block) FreeBlock{first};
}

void operator delete(void* block, std::size_t) noexcept { ::operator delete(block); }
