#include "ekd/forces.hpp"

#include <ATen/Parallel.h>

namespace ekd {

torch::Tensor forces(const AtomGraph& graph, const torch::Tensor& pair_gradients) {
  const std::int64_t n_pairs = graph.centers.size(0);
  const std::int64_t n_atoms = graph.species.size(0);
  torch::Tensor result = torch::zeros({n_atoms, 3}, torch::kFloat64);
  const std::int64_t* const centers = graph.centers.const_data_ptr<std::int64_t>();
  const std::int64_t* const neighbors = graph.neighbors.const_data_ptr<std::int64_t>();
  const double* const gradients = pair_gradients.const_data_ptr<double>();
  double* const out = result.mutable_data_ptr<double>();
  // Each thread reads all pairs and adds to atoms of its own: no two write to one atom, and every
  // sum keeps the order of the pairs.
  constexpr std::int64_t kAtomsWorthAThread = 256;
  at::parallel_for(0, n_atoms, kAtomsWorthAThread, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = 0; p < n_pairs; ++p) {
      const std::int64_t i = centers[p];
      const std::int64_t j = neighbors[p];
      if (i >= begin && i < end)
        for (int d = 0; d < 3; ++d) out[3 * i + d] += gradients[3 * p + d];
      if (j >= begin && j < end)
        for (int d = 0; d < 3; ++d) out[3 * j + d] -= gradients[3 * p + d];
    }
  });
  return result;
}

torch::Tensor virial(const AtomGraph& graph, const torch::Tensor& pair_gradients) {
  const torch::Tensor product = -graph.pair_vectors.t().mm(pair_gradients);
  return (product + product.t()) / 2;
}

}  // namespace ekd
