// The screened repulsion of python/ekd/models/zbl.py, which see for the formula and its sources.
#pragma once

#include <cstdint>
#include <vector>

#include "ekd/weights.hpp"

namespace ekd {

class Repulsion {
 public:
  // weights: of the network. n_species: of the model.
  Repulsion(const Weights& weights, std::int64_t n_species);

  // Half of every pair's energy to its centre. Centres begin .. end - 1; both outputs are added to.
  // seeds: [n_centers], dE/d(energy of the centre).
  void add(const std::int64_t* row_offsets, const std::int64_t* neighbors, const double* vectors,
           const std::int64_t* species, const double* seeds, std::int64_t begin, std::int64_t end,
           double* energies, double* pair_gradients) const;

 private:
  std::int64_t n_species_;
  std::vector<double> strength_, inverse_length_, range_;  // [n_species, n_species]
  std::vector<double> coefficients_, decays_;
};

}  // namespace ekd
