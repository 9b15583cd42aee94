// HIP-NN-TS on the CPU with dedicated kernels; gradients need no tape.
#pragma once

#include <memory>

#include "ekd/network.hpp"
#include "ekd/weights.hpp"

namespace ekd {

// single: evaluate in float32, otherwise in float64. block: as in ExportedModel.
// Throws ModelFileError: a weight is missing, has an inconsistent shape, or is not finite.
std::unique_ptr<Network> make_hipnn_network(const HipnnWeights& weights, bool single,
                                            std::int64_t block);

}  // namespace ekd
