#include "zbl.hpp"

#include <cmath>

namespace ekd {
namespace {

std::vector<double> numbers(const torch::jit::Module& module, const char* name) {
  const torch::Tensor flat =
      module.attr(name).toTensor().to(torch::kCPU, torch::kFloat64).contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

}  // namespace

Repulsion::Repulsion(const torch::jit::Module& zbl)
    : n_species_(zbl.attr("range").toTensor().size(0)),
      strength_(numbers(zbl, "strength")),
      inverse_length_(numbers(zbl, "inverse_length")),
      range_(numbers(zbl, "range")),
      coefficients_(numbers(zbl, "coefficients")),
      decays_(numbers(zbl, "decays")) {}

void Repulsion::add(const std::int64_t* row_offsets, const std::int64_t* neighbors,
                    const double* vectors, const std::int64_t* species, const double* seeds,
                    std::int64_t begin, std::int64_t end, double* energies,
                    double* pair_gradients) const {
  for (std::int64_t i = begin; i < end; ++i) {
    for (std::int64_t p = row_offsets[i]; p < row_offsets[i + 1]; ++p) {
      const std::int64_t kind = species[i] * n_species_ + species[neighbors[p]];
      const double* v = vectors + 3 * p;
      const double square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
      if (square >= range_[kind] * range_[kind]) continue;
      const double r = std::sqrt(square);
      const double x = r / range_[kind];
      double screening = 0.0;
      double screening_slope = 0.0;
      for (std::size_t k = 0; k < decays_.size(); ++k) {
        const double decay = decays_[k] * inverse_length_[kind];
        const double term = coefficients_[k] * std::exp(-decay * r);
        screening += term;
        screening_slope -= decay * term;
      }
      const double x5 = x * x * x * x * x;
      const double envelope = 1.0 - x5 * x * (28.0 - x * (48.0 - 21.0 * x));
      const double envelope_slope = -168.0 * x5 * (1.0 - x) * (1.0 - x) / range_[kind];
      const double strength = 0.5 * strength_[kind] / r;
      energies[i] += strength * screening * envelope;
      const double slope = strength * (screening_slope * envelope + screening * envelope_slope -
                                       screening * envelope / r);
      for (int d = 0; d < 3; ++d) pair_gradients[3 * p + d] += seeds[i] * slope * v[d] / r;
    }
  }
}

}  // namespace ekd
