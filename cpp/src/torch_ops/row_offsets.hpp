// Offsets of the pairs of each center.
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace ekd {

// Returns offsets [n_centers + 1] of pairs [2, n_pairs], contiguous int64 on the CPU, sorted by
// center. Checks once that indices are in order and in range, because kernels access memory with
// them. Error messages begin with `caller`.
// Throws c10::Error.
torch::Tensor row_offsets(const char* caller, const torch::Tensor& pairs, std::int64_t n_centers,
                          std::int64_t n_neighbors);

}  // namespace ekd
