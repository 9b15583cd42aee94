#include "zbl.hpp"

#include <cmath>

namespace ekd {

Repulsion::Repulsion(const Weights& weights, std::int64_t n_species) : n_species_(n_species) {
  const std::vector<std::int64_t> table{n_species, n_species};
  strength_ = weights.get<double>("zbl.strength", table);
  inverse_length_ = weights.get<double>("zbl.inverse_length", table);
  range_ = weights.get<double>("zbl.range", table);
  const std::vector<std::int64_t>& terms = weights.shape("zbl.decays");
  coefficients_ = weights.get<double>("zbl.coefficients", terms);
  decays_ = weights.get<double>("zbl.decays", terms);
}

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
