// The weights of a network in device memory, in the layout of the kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "../device/device.hpp"
#include "interaction_weights.hpp"

namespace ekd {

inline int padded_to_four(std::int64_t n) { return static_cast<int>((n + 3) / 4 * 4); }

// Owns arrays on a device.
class DeviceWeights {
 public:
  explicit DeviceWeights(std::shared_ptr<device::Device> device) : device_(std::move(device)) {}
  ~DeviceWeights() {
    for (void* memory : kept_) device_->release(memory);
  }
  DeviceWeights(const DeviceWeights&) = delete;
  DeviceWeights& operator=(const DeviceWeights&) = delete;

  template <class V>
  const V* keep(const std::vector<V>& values) {
    const std::size_t bytes = std::max<std::size_t>(1, values.size()) * sizeof(V);
    kept_.push_back(device_->allocate(bytes));
    if (!values.empty()) device_->write(kept_.back(), values.data(), values.size() * sizeof(V));
    return static_cast<const V*>(kept_.back());
  }

  // at(row, column); both are padded to multiples of four with zeros.
  template <class T, class At>
  device::Matrix<T> matrix(std::int64_t n_rows, std::int64_t n_columns, At at) {
    const int rows = padded_to_four(n_rows), columns = padded_to_four(n_columns);
    std::vector<T> data(static_cast<std::size_t>(rows) * columns, T(0));
    for (std::int64_t r = 0; r < n_rows; ++r)
      for (std::int64_t c = 0; c < n_columns; ++c) data[r * columns + c] = at(r, c);
    return {keep(data), rows, columns};
  }

  // n rows of `width` numbers each, padded.
  template <class T>
  const T* rows(const std::vector<T>& values, std::int64_t n, std::int64_t width) {
    const int padded = padded_to_four(width);
    std::vector<T> data(static_cast<std::size_t>(std::max<std::int64_t>(1, n)) * padded, T(0));
    for (std::int64_t r = 0; r < n; ++r)
      std::copy_n(values.begin() + r * width, width, data.begin() + r * padded);
    return keep(data);
  }

 private:
  std::shared_ptr<device::Device> device_;
  std::vector<void*> kept_;
};

// A slice of the output features of a later interaction, with its V.
template <class T>
struct DeviceSlice {
  int first, width;
  device::Matrix<T> mix, mix_transposed;  // rows F_in, columns (sensitivity, feature of the slice)
};

template <class T>
struct DeviceInteraction {
  device::Interaction<T> weights{};
  std::vector<DeviceSlice<T>> slices;  // of later interactions
};

// widest_slice: largest number of features per slice, a multiple of four.
template <class T>
DeviceInteraction<T> to_device(const InteractionWeights<T>& from, int widest_slice,
                               DeviceWeights& kept) {
  const std::int64_t F = from.width, F_in = from.width_in, S = from.n_sensitivities();
  DeviceInteraction<T> to;
  device::Interaction<T>& w = to.weights;
  const auto linear = [&](const std::vector<T>& weight, std::int64_t n_out, std::int64_t n_in,
                          bool transposed) {
    const auto at = [&](std::int64_t in, std::int64_t out) { return weight[out * n_in + in]; };
    if (transposed)
      return kept.matrix<T>(n_out, n_in, [&](auto out, auto in) { return at(in, out); });
    return kept.matrix<T>(n_in, n_out, at);
  };
  w.of_species = from.of_species ? 1 : 0;
  w.n_species = from.of_species ? static_cast<int>(F_in) : 0;
  w.in_width = padded_to_four(F_in);
  w.out_width = padded_to_four(F);
  w.n_layers = static_cast<int>(from.layers.size());
  w.n_sensitivities = static_cast<int>(S);
  w.sensitivity_width = padded_to_four(S);
  w.cutoff = from.cutoff;
  w.cusp = from.cusp;
  w.inverse_mu = kept.rows(from.inverse_mu, 1, S);
  w.sigma = kept.rows(from.sigma, 1, S);
  w.window_begin = kept.keep(from.window_begin);
  w.window_end = kept.keep(from.window_end);
  w.tensor_scales = kept.rows(from.tensor_scales, from.l_max, F);
  w.outer = linear(from.outer, F, F, false);
  w.outer_transposed = linear(from.outer, F, F, true);
  w.outer_bias = kept.rows(from.outer_bias, 1, F);
  std::vector<device::AtomLayer<T>> layers;
  layers.reserve(from.layers.size());
  for (const auto& layer : from.layers)
    layers.push_back({linear(layer.inner, F, F, false), linear(layer.inner, F, F, true),
                      linear(layer.outer, F, F, false), linear(layer.outer, F, F, true),
                      kept.rows(layer.inner_bias, 1, F), kept.rows(layer.outer_bias, 1, F)});
  w.layers = kept.keep(layers);
  w.energy = kept.rows(from.energy, 1, F);
  w.energy_bias = from.energy_bias;
  if (from.of_species) {
    const std::int64_t SP = w.sensitivity_width;
    const auto at = [&](std::int64_t row, std::int64_t f) {
      return row % SP < S ? from.mix(f, row % SP, row / SP) : T(0);
    };
    w.mix = kept.matrix<T>(F_in * SP, F, at);
    w.mix_transposed = kept.matrix<T>(F, F_in * SP, [&](auto f, auto row) { return at(row, f); });
    std::vector<T> center_rows(F_in * F), skip_rows(F_in * F, T(0));
    for (std::int64_t s = 0; s < F_in; ++s)
      for (std::int64_t f = 0; f < F; ++f) {
        center_rows[s * F + f] = from.center[f * F_in + s] + from.center_bias[f];
        skip_rows[s * F + f] = from.skip.empty() ? T(s == f) : from.skip[f * F_in + s];
      }
    w.center_rows = kept.rows(center_rows, F_in, F);
    w.skip_rows = kept.rows(skip_rows, F_in, F);
    return to;
  }
  w.center = linear(from.center, F, F_in, false);
  w.center_transposed = linear(from.center, F, F_in, true);
  w.center_bias = kept.rows(from.center_bias, 1, F);
  if (!from.skip.empty()) {
    w.skip = linear(from.skip, F, F_in, false);
    w.skip_transposed = linear(from.skip, F, F_in, true);
  }
  for (int first = 0; first < w.out_width; first += widest_slice) {
    const int width = std::min(widest_slice, w.out_width - first);
    const auto at = [&](std::int64_t f_in, std::int64_t column) {
      const std::int64_t f = first + column % width;
      return f < F ? from.mix(f, column / width, f_in) : T(0);
    };
    to.slices.push_back({first, width, kept.matrix<T>(F_in, S * width, at),
                         kept.matrix<T>(S * width, F_in,
                                        [&](auto column, auto f_in) { return at(f_in, column); })});
  }
  return to;
}

}  // namespace ekd
