// Forces and virial from the gradients of the energy with respect to pair vectors.
#pragma once

#include <array>

#include "ekd/network.hpp"

namespace ekd {

// [n_atoms, 3] eV/Å: +g on the centre of each pair, -g on its neighbour. The same for any number of
// threads.
Buffer<double> forces(const AtomGraph& graph, const double* pair_gradients);

// [3, 3] eV: -sum r ⊗ g, made symmetric. The same for any number of threads.
std::array<double, 9> virial(const AtomGraph& graph, const double* pair_gradients);

}  // namespace ekd
