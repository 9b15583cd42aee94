// Which implementation evaluates a network.
#pragma once

#include <torch/script.h>

#include <memory>

#include "ekd/model_metadata.hpp"
#include "ekd/network.hpp"

namespace ekd {

// member: the loaded TorchScript with the staged protocol, on the device, its parameters in the
// precision of the file. dtype: the precision in which it is evaluated. block: see ExportedModel.
std::unique_ptr<Network> make_network(torch::jit::Module member, const ModelMetadata& metadata,
                                      const torch::Device& device, torch::ScalarType dtype,
                                      std::int64_t block);

}  // namespace ekd
