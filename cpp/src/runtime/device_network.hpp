// HIP-NN-TS on an accelerator with the common interface of networks: pairs are copied from the
// host, and their gradients back to it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "ekd/network.hpp"
#include "ekd/weights.hpp"

namespace ekd {

// device: see device::open_device. process: index of the process on its node. block: see
// ExportedModel.
// Throws ModelFileError: a weight is invalid. Error: the device does not exist, or cannot run the
// network.
std::unique_ptr<Network> make_device_network(const HipnnWeights& weights, const std::string& device,
                                             bool single, std::int64_t block, int process);

}  // namespace ekd
