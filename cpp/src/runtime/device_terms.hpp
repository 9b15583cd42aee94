// Terms of a network in addition to interactions, in device memory: repulsion, uncertainty.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../device/device.hpp"
#include "device_weights.hpp"
#include "ekd/error.hpp"
#include "ekd/weights.hpp"
#include "hipnn_weights.hpp"

namespace ekd {

inline device::RepulsionArguments repulsion_on_device(const Weights& arrays, std::int64_t n_species,
                                                      DeviceWeights& kept) {
  const std::vector<std::int64_t> table{n_species, n_species};
  const std::vector<std::int64_t>& terms = arrays.shape("zbl.decays");
  device::RepulsionArguments z{};
  z.n_species = static_cast<int>(n_species);
  const std::vector<double> decays = arrays.get<double>("zbl.decays", terms);
  z.n_terms = static_cast<int>(decays.size());
  z.strength = kept.keep(arrays.get<double>("zbl.strength", table));
  z.inverse_length = kept.keep(arrays.get<double>("zbl.inverse_length", table));
  z.range = kept.keep(arrays.get<double>("zbl.range", table));
  z.coefficients = kept.keep(arrays.get<double>("zbl.coefficients", terms));
  z.decays = kept.keep(decays);
  return z;
}

// Throws DeviceError: the network has more interactions than the kernel of the head supports.
template <class T>
device::UncertaintyArguments<T> uncertainty_on_device(const HipnnWeights& network,
                                                      const device::Device& on,
                                                      DeviceWeights& kept) {
  const Weights& weights = network.arrays;
  const std::string name = "uncertainty_head.";
  const std::vector<std::int64_t>& shape = weights.shape(name + "first.bias");
  const std::int64_t H = shape.empty() ? 1 : shape[0];
  std::int64_t F = 0;  // sum over all levels
  for (std::size_t k = 1; k < network.feature_widths.size(); ++k) F += network.feature_widths[k];
  const std::size_t n_interactions = network.feature_widths.size() - 1;
  if (n_interactions > static_cast<std::size_t>(device::kMostLevels))
    throw DeviceError("a network of " + std::to_string(n_interactions) +
                      " interactions with an uncertainty does not run on " + on.name() + ": " +
                      std::to_string(device::kMostLevels) +
                      " are the most; use device cpu [EKD-DEVICE-011]");
  const std::vector<T> first = weights.get<T>(name + "first.weight", {H, F});
  const std::vector<T> second = weights.get<T>(name + "second.weight", {H, H});
  device::UncertaintyArguments<T> a{};
  a.n_levels = static_cast<int>(n_interactions);
  std::int64_t start = 0;
  for (int level = 0; level < a.n_levels; ++level) {
    const std::int64_t width = network.feature_widths[level + 1];
    a.first_layer[level] =
        kept.matrix<T>(width, H, [&](auto from, auto to) { return first[to * F + start + from]; });
    start += width;
  }
  a.second_layer = kept.matrix<T>(H, H, [&](auto from, auto to) { return second[to * H + from]; });
  a.first_bias = kept.rows(weights.get<T>(name + "first.bias", {H}), 1, H);
  a.second_bias = kept.rows(weights.get<T>(name + "second.bias", {H}), 1, H);
  a.readout = kept.rows(weights.get<T>(name + "readout.weight", {1, H}), 1, H);
  a.readout_bias = weights.get<T>(name + "readout.bias", {1})[0];
  return a;
}

}  // namespace ekd
