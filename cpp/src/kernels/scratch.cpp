#include "scratch.hpp"

#include "ekd/buffer.hpp"

namespace ekd {
namespace {

BlockPool& pool_of_thread() {
  constexpr std::size_t kLimit = std::size_t{16} << 20;
  constexpr std::size_t kSmallest = std::size_t{1} << 10;
  thread_local BlockPool pool(kLimit, kSmallest);
  return pool;
}

}  // namespace

ScratchBlock take_scratch(std::size_t bytes) {
  ScratchBlock block{};
  block.data = pool_of_thread().allocate(bytes, block.capacity);
  return block;
}

void return_scratch(ScratchBlock block) noexcept {
  pool_of_thread().free(block.data, block.capacity);
}

}  // namespace ekd
