// Tests which memory blocks of large arrays are kept for later requests.
#include <cstddef>
#include <cstdint>
#include <memory>

#include "check.hpp"
#include "ekd/buffer.hpp"

using ekd::BlockPool;

namespace {

constexpr std::size_t kKiB = 1024;

// Allocates and frees a block; returns its address.
void* use(BlockPool& pool, std::size_t bytes) {
  std::size_t capacity = 0;
  void* const data = pool.allocate(bytes, capacity);
  check(capacity >= bytes);
  check(reinterpret_cast<std::uintptr_t>(data) % 64 == 0);
  pool.free(data, capacity);
  return data;
}

}  // namespace

// Otherwise, the C library may return the memory to the system in every step.
TEST(blocks_are_kept_if_the_number_of_pairs_changes) {
  for (const std::size_t size : {40 * kKiB, 161 * kKiB, 1500 * kKiB, 5000 * kKiB}) {
    BlockPool pool(16 << 20);
    void* const first = use(pool, size + size / 16);
    for (int step = 0; step < 100; ++step) {
      const std::size_t bytes = size + static_cast<std::size_t>(step * 37 % 100) * (size / 1600);
      check(use(pool, bytes) == first, std::to_string(bytes));
    }
    check(pool.kept() > 0);
  }
}

TEST(small_blocks_are_left_to_the_c_library) {
  BlockPool pool(16 << 20);
  use(pool, 16 * kKiB);
  check(pool.kept() == 0);
}

TEST(no_more_than_the_limit_is_kept) {
  BlockPool pool(100 * kKiB);
  use(pool, 200 * kKiB);
  check(pool.kept() == 0);
  use(pool, 64 * kKiB);
  check(pool.kept() == 64 * kKiB);
  pool.set_limit(10);
  check(pool.kept() == 0);
}

TEST(the_number_of_kept_blocks_is_limited) {
  constexpr std::size_t kBlock = 64 * kKiB;
  constexpr std::size_t kMany = 500;
  BlockPool pool(kMany * kBlock);
  std::vector<void*> blocks(kMany);
  std::size_t capacity = 0;
  for (void*& block : blocks) block = pool.allocate(kBlock, capacity);
  for (void* const block : blocks) pool.free(block, capacity);
  check(pool.kept() == 64 * kBlock);
}

TEST(a_large_request_does_not_get_a_small_block) {
  BlockPool pool(16 << 20);
  use(pool, 64 * kKiB);
  std::size_t capacity = 0;
  void* const data = pool.allocate(65 * kKiB, capacity);
  check(capacity >= 65 * kKiB);
  check(pool.kept() == 64 * kKiB);
  pool.free(data, capacity);
}
