// HIP-NN-TS on the CPU by kernels written for it; gradients need no tape.
#pragma once

#include <memory>

#include "ekd/network.hpp"
#include "ekd/weights.hpp"

namespace ekd {

// single: evaluated in float32, else in float64. block: as in ExportedModel.
// Throws ModelFileError: a weight is missing, has another shape than the others say, or is not
// finite.
std::unique_ptr<Network> make_hipnn_network(const HipnnWeights& weights, bool single,
                                            std::int64_t block);

}  // namespace ekd
