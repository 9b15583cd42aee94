// Forces and virial from the gradients of the energy with respect to pair vectors.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "ekd/network.hpp"

namespace ekd {

// [n_atoms, 3] eV/Å: +g on the center of each pair, -g on its neighbor. Independent of the number
// of threads.
Buffer<double> forces(const AtomGraph& graph, const double* pair_gradients);

// [3, 3] eV: -sum r ⊗ g, symmetrized. Independent of the number of threads.
std::array<double, 9> virial(const AtomGraph& graph, const double* pair_gradients);

// The same for a graph of several structures: structure s owns atoms offsets[s] .. offsets[s + 1]
// - 1. The results of each structure are bitwise independent of the others.
Buffer<double> forces(const AtomGraph& graph, const double* pair_gradients,
                      std::span<const std::int64_t> offsets);
// [n_structures, 3, 3]
std::vector<std::array<double, 9>> virials(const AtomGraph& graph, const double* pair_gradients,
                                           std::span<const std::int64_t> offsets);

// sqrt(mean over members of |F - mean F|² / 3) for every atom: [n_atoms] eV/Å.
Buffer<double> forces_spread(const std::vector<Buffer<double>>& members,
                             const Buffer<double>& mean);

}  // namespace ekd
