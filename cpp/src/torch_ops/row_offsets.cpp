#include "row_offsets.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

namespace ekd {
namespace {

// Fewer pairs are not worth starting a thread, because each takes only a few instructions.
constexpr std::int64_t kPairsWorthAThread = 32768;

void report(const char* caller, const std::int64_t* centers, const std::int64_t* neighbors,
            std::int64_t n_pairs, std::int64_t n_centers, std::int64_t n_neighbors) {
  std::int64_t previous = 0;
  for (std::int64_t p = 0; p < n_pairs; ++p) {
    TORCH_CHECK(centers[p] >= previous && centers[p] < n_centers, caller,
                ": pairs must be sorted by center, with centers below ", n_centers,
                "; found center ", centers[p], " after ", previous, " at pair ", p);
    TORCH_CHECK(neighbors[p] >= 0 && neighbors[p] < n_neighbors, caller,
                ": neighbors must be below ", n_neighbors, "; found ", neighbors[p], " at pair ",
                p);
    previous = centers[p];
  }
}

}  // namespace

torch::Tensor row_offsets(const char* caller, const torch::Tensor& pairs, std::int64_t n_centers,
                          std::int64_t n_neighbors) {
  const std::int64_t n_pairs = pairs.size(1);
  const auto* const centers = pairs.const_data_ptr<std::int64_t>();
  const auto* const neighbors = centers + n_pairs;
  torch::Tensor result = torch::empty({n_centers + 1}, torch::kInt64);
  auto* const offsets = result.mutable_data_ptr<std::int64_t>();
  std::atomic<bool> sound{true};
  at::parallel_for(0, n_pairs, kPairsWorthAThread, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t previous = begin > 0 ? centers[begin - 1] : -1;
    for (std::int64_t p = begin; p < end; ++p) {
      const std::int64_t i = centers[p];
      const std::int64_t j = neighbors[p];
      // The pair before this range is checked by its own thread.
      if (previous < -1 || i < 0 || i < previous || i >= n_centers || j < 0 || j >= n_neighbors) {
        sound = false;
        return;
      }
      while (previous < i) offsets[++previous] = p;
    }
  });
  if (!sound) report(caller, centers, neighbors, n_pairs, n_centers, n_neighbors);
  const std::int64_t last = n_pairs > 0 ? centers[n_pairs - 1] : -1;
  std::fill(offsets + last + 1, offsets + n_centers + 1, n_pairs);
  return result;
}

}  // namespace ekd
