#include "ekd/buffer.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace ekd {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kMostBlocks = 64;  // all of them are looked at for every request
constexpr std::size_t kCommonLimit = std::size_t{256} << 20;

}  // namespace

BlockPool::~BlockPool() {
  while (!blocks_.empty()) drop_oldest();
}

const std::shared_ptr<BlockPool>& BlockPool::common() {
  // Never destroyed: arrays may be freed after the static objects of this library are gone.
  static const auto* pool = new std::shared_ptr<BlockPool>(new BlockPool(kCommonLimit));
  return *pool;
}

void* BlockPool::allocate(std::size_t bytes, std::size_t& capacity) {
  const bool is_huge = bytes >= kHugePage;
  const std::size_t unit = is_huge ? kHugePage : kAlignment;
  // Kept blocks have up to an eighth of spare room, so that they also fit slightly larger requests:
  // the number of pairs changes with every step of a simulation.
  const std::size_t step =
      is_huge || bytes < smallest_ ? unit : std::max(unit, std::bit_floor(bytes) / 8);
  capacity = (bytes + step - 1) / step * step;
  if (capacity == 0) return nullptr;
  if (capacity >= smallest_) {
    const std::lock_guard lock(mutex_);
    auto best = blocks_.end();
    for (auto block = blocks_.begin(); block != blocks_.end(); ++block)
      if (block->capacity >= capacity && block->capacity <= 2 * capacity &&
          (best == blocks_.end() || block->capacity < best->capacity))
        best = block;
    if (best != blocks_.end()) {
      const Block found = *best;
      blocks_.erase(best);
      kept_ -= found.capacity;
      capacity = found.capacity;
      return found.data;
    }
  }
  void* data = std::aligned_alloc(unit, capacity);
  if (data == nullptr) throw std::bad_alloc();
#ifdef __linux__
  // Only a hint: if it is refused, pages are small.
  if (is_huge) madvise(data, capacity, MADV_HUGEPAGE);
#endif
  return data;
}

void BlockPool::free(void* data, std::size_t capacity) noexcept {
  if (capacity >= smallest_) {
    const std::lock_guard lock(mutex_);
    if (capacity <= limit_) {
      while (kept_ + capacity > limit_ || blocks_.size() >= kMostBlocks) drop_oldest();
      try {
        blocks_.push_back({data, capacity});
        kept_ += capacity;
        return;
      } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch)
        // No memory for the list entry: free the block.
      }
    }
  }
  std::free(data);
}

void BlockPool::set_limit(std::size_t limit) noexcept {
  const std::lock_guard lock(mutex_);
  limit_ = limit;
  while (kept_ > limit_) drop_oldest();
}

std::size_t BlockPool::kept() const noexcept {
  const std::lock_guard lock(mutex_);
  return kept_;
}

void BlockPool::drop_oldest() noexcept {
  kept_ -= blocks_.front().capacity;
  std::free(blocks_.front().data);
  blocks_.erase(blocks_.begin());
}

}  // namespace ekd
