// Atoms that the kernels take together. Compiled once per instruction set, as simd.hpp.
#pragma once

#include <cstdint>

namespace {

constexpr std::int64_t kTile = 48;  // atoms that are taken through the layers together

std::int64_t most_pairs(const std::int64_t* offsets, std::int64_t begin, std::int64_t end) {
  std::int64_t most = 0;
  for (std::int64_t i = begin; i < end; ++i)
    if (offsets[i + 1] - offsets[i] > most) most = offsets[i + 1] - offsets[i];
  return most;
}

std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

}  // namespace
