#include "ekd/forces.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <vector>

#include "ekd/buffer.hpp"

namespace ekd {
namespace {

// Pairs are cut into so many parts, which depends on their number alone: so do the results, to the
// last bit, and not on the number of threads.
constexpr std::int64_t kPairsWorthAPart = 65536;
constexpr std::int64_t kMostParts = 8;

std::int64_t parts_of(std::int64_t n_pairs) {
  return std::clamp<std::int64_t>(n_pairs / kPairsWorthAPart, 1, kMostParts);
}

// run(part, first pair, end) for every part.
template <class Run>
void for_parts(std::int64_t n_pairs, const Run& run) {
  const std::int64_t n_parts = parts_of(n_pairs);
  at::parallel_for(0, n_parts, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part)
      run(part, n_pairs * part / n_parts, n_pairs * (part + 1) / n_parts);
  });
}

}  // namespace

torch::Tensor forces(const AtomGraph& graph, const torch::Tensor& pair_gradients) {
  const std::int64_t n_pairs = graph.neighbors.size(0);
  const std::int64_t n_values = 3 * graph.species.size(0);
  const torch::Tensor offset_tensor = graph.offsets.contiguous();
  const torch::Tensor neighbor_tensor = graph.neighbors.contiguous();
  torch::Tensor result = torch::zeros({graph.species.size(0), 3}, torch::kFloat64);
  const std::int64_t* const offsets = offset_tensor.const_data_ptr<std::int64_t>();
  const std::int64_t* const neighbors = neighbor_tensor.const_data_ptr<std::int64_t>();
  const double* const gradients = pair_gradients.const_data_ptr<double>();
  double* const out = result.mutable_data_ptr<double>();
  // Every part adds to forces of its own, the first to the result; these are added up at the end.
  const std::int64_t n_others = parts_of(n_pairs) - 1;
  Buffer<double> others(n_others * n_values);
  for_parts(n_pairs, [&](std::int64_t part, std::int64_t first, std::int64_t end) {
    double* const to = part == 0 ? out : others.data() + (part - 1) * n_values;
    if (part > 0) std::fill_n(to, n_values, 0.0);
    // The centre of the first pair: the last that begins no later.
    std::int64_t i =
        std::upper_bound(offsets, offsets + offset_tensor.size(0), first) - offsets - 1;
    for (std::int64_t p = first; p < end; ++i) {
      std::array<double, 3> sum{};
      for (; p < std::min(end, offsets[i + 1]); ++p) {
        double* const at_neighbor = to + 3 * neighbors[p];
        for (int d = 0; d < 3; ++d) {
          const double g = gradients[3 * p + d];
          sum[d] += g;
          at_neighbor[d] -= g;
        }
      }
      for (int d = 0; d < 3; ++d) to[3 * i + d] += sum[d];
    }
  });
  if (n_others == 0) return result;
  constexpr std::int64_t kValuesWorthAThread = 8192;
  at::parallel_for(0, n_values, kValuesWorthAThread, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t other = 0; other < n_others; ++other)
      for (std::int64_t k = begin; k < end; ++k) out[k] += others[other * n_values + k];
  });
  return result;
}

torch::Tensor virial(const AtomGraph& graph, const torch::Tensor& pair_gradients) {
  const std::int64_t n_pairs = graph.neighbors.size(0);
  const torch::Tensor vector_tensor = graph.pair_vectors.contiguous();
  const double* const vectors = vector_tensor.const_data_ptr<double>();
  const double* const gradients = pair_gradients.const_data_ptr<double>();
  std::vector<std::array<double, 9>> sums(parts_of(n_pairs));
  for_parts(n_pairs, [&](std::int64_t part, std::int64_t first, std::int64_t end) {
    std::array<double, 9> sum{};
    for (std::int64_t p = first; p < end; ++p)
      for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 3; ++b) sum[3 * a + b] -= vectors[3 * p + a] * gradients[3 * p + b];
    sums[part] = sum;
  });
  torch::Tensor result = torch::zeros({3, 3}, torch::kFloat64);
  auto out = result.accessor<double, 2>();
  for (const auto& sum : sums)
    for (int a = 0; a < 3; ++a)
      for (int b = 0; b < 3; ++b) out[a][b] += 0.5 * (sum[3 * a + b] + sum[3 * b + a]);
  return result;
}

}  // namespace ekd
