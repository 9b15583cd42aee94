// HIP-NN-TS on the CPU by kernels written for it: the weights are taken out of the TorchScript,
// and gradients need no tape. The same numbers as ScriptNetwork, many times faster.
#pragma once

#include <torch/script.h>

#include <memory>

#include "ekd/network.hpp"

namespace ekd {

// Whether make_hipnn_network can evaluate this module.
bool is_hipnn(const torch::jit::Module& module);

// dtype: float32 or float64. block: as in ExportedModel.
std::unique_ptr<Network> make_hipnn_network(const torch::jit::Module& module,
                                            torch::ScalarType dtype, std::int64_t block);

}  // namespace ekd
