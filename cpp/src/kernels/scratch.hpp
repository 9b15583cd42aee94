// Memory for one call of a kernel. A header without code, see the top of simd.hpp.
#pragma once

#include <cstddef>

namespace ekd {

struct ScratchBlock {
  void* data;  // aligned to 64 bytes
  std::size_t capacity;
};

// Every thread keeps some of its blocks for later calls. The C library would return memory of this
// size to the system after every call for some sizes of systems: clearing the pages again took as
// long as the kernels.
// Throws std::bad_alloc.
ScratchBlock take_scratch(std::size_t bytes);
void return_scratch(ScratchBlock block) noexcept;  // by the same thread

}  // namespace ekd
