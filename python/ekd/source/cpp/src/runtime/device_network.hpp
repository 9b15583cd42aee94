// HIP-NN-TS on an accelerator, behind the interface that all networks have: pairs come from the
// host, and their gradients go back there.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "ekd/network.hpp"
#include "ekd/weights.hpp"

namespace ekd {

// device: see device::open_device. process: number among those of a computer. block: see
// ExportedModel.
// Throws ModelFileError: a weight is wrong. Error: there is no such device, or it cannot run the
// network.
std::unique_ptr<Network> make_device_network(const HipnnWeights& weights, const std::string& device,
                                             bool single, std::int64_t block, int process);

}  // namespace ekd
