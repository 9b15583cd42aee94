// Screened repulsion; see python/ekd/models/zbl.py for the formula and its sources.
#pragma once

#include <cstdint>
#include <vector>

#include "ekd/weights.hpp"

namespace ekd {

class Repulsion {
 public:
  // weights: weights of the network. n_species: number of species of the model.
  Repulsion(const Weights& weights, std::int64_t n_species);

  // Adds half of the energy of every pair to its center, for the centers begin .. end - 1. Both
  // outputs are accumulated. seeds: [n_centers], dE/d(energy of the center).
  void add(const std::int64_t* row_offsets, const std::int64_t* neighbors, const double* vectors,
           const std::int64_t* species, const double* seeds, std::int64_t begin, std::int64_t end,
           double* energies, double* pair_gradients) const;

 private:
  std::int64_t n_species_;
  std::vector<double> strength_, inverse_length_, range_;  // [n_species, n_species]
  std::vector<double> coefficients_, decays_;
};

}  // namespace ekd
