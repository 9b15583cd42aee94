// Number of atoms that kernels process at once. Compiled once per instruction set, like simd.hpp.
#pragma once

#include <cstdint>

namespace {

constexpr std::int64_t kTile = 48;  // atoms that pass through the layers at once

std::int64_t most_pairs(const std::int64_t* offsets, std::int64_t begin, std::int64_t end) {
  std::int64_t most = 0;
  for (std::int64_t i = begin; i < end; ++i)
    if (offsets[i + 1] - offsets[i] > most) most = offsets[i + 1] - offsets[i];
  return most;
}

std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

}  // namespace
