// Forces and virial from the gradients of the energy with respect to pair vectors.
#pragma once

#include "ekd/network.hpp"

namespace ekd {

// [n_all, 3] eV/Å: +g on the centre of each pair, -g on its neighbour. The same for any number of
// threads.
EKD_EXPORT torch::Tensor forces(const AtomGraph& graph, const torch::Tensor& pair_gradients);

// [3, 3] eV: -sum r ⊗ g, made symmetric.
EKD_EXPORT torch::Tensor virial(const AtomGraph& graph, const torch::Tensor& pair_gradients);

}  // namespace ekd
