// Where the pairs of each centre begin.
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace ekd {

// Of pairs [2, n_pairs] int64 on the CPU, contiguous, sorted by centre: offsets [n_centers + 1].
// `caller` begins the message if indices are out of order or range. They are checked here, once:
// kernels read memory by them.
// Throws c10::Error.
torch::Tensor row_offsets(const char* caller, const torch::Tensor& pairs, std::int64_t n_centers,
                          std::int64_t n_neighbors);

}  // namespace ekd
