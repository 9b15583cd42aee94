// The weights of one interaction block in the layout of the CPU kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "ekd/hipnn_kernels.hpp"
#include "hipnn_weights.hpp"
#include "interaction_weights.hpp"

namespace ekd {

// The weights of one stage in the layout of the kernels, with their memory.
template <class T>
class Stage {
 public:
  Stage(const InteractionWeights<T>& from, const HipnnKernels<T>& kernels)
      : kernels_(kernels), kept_(kernels.panel) {
    const std::int64_t F = from.width;
    const std::int64_t F_in = from.width_in;
    const std::int64_t W = padded_to(F, kernels.panel);
    w.of_species = from.of_species;
    w.width_in = F_in;
    w.width_out = F;
    w.padded = W;
    w.n_components = (from.l_max + 1) * (from.l_max + 1);
    w.cutoff = from.cutoff;
    w.cusp = from.cusp;
    set_sensitivities(from);

    const std::int64_t S = w.n_sensitivities;
    const std::int64_t SP = w.padded_sensitivities;
    if (from.of_species) {
      const auto at = [&](std::int64_t row, std::int64_t f) {
        return f < F && row % SP < S ? from.mix(f, row % SP, row / SP) : T(0);
      };
      w.mix = kept_.pack(F_in * SP, W, at);
      w.mix_transposed =
          kept_.pack(W, F_in * SP, [&](auto k, auto n) { return n < F_in * SP ? at(n, k) : T(0); });
    } else {
      const auto at = [&](std::int64_t f_in, std::int64_t column) {
        return column % W < F ? from.mix(column % W, column / W, f_in) : T(0);
      };
      w.mix = kept_.pack(F_in, S * W, at);
      w.mix_transposed =
          kept_.pack(S * W, F_in, [&](auto k, auto n) { return n < F_in ? at(n, k) : T(0); });
    }

    w.tensor_scales = rows(from.tensor_scales, from.l_max, F);
    w.outer_bias = rows(from.outer_bias, 1, F);
    w.outer = linear(from.outer, F, F, false);
    w.outer_transposed = linear(from.outer, F, F, true);
    const bool skips = !from.skip.empty();
    if (from.of_species) {
      // One-hot features select a column.
      std::vector<T> center_rows(F_in * F), skip_rows(F_in * F, T(0));
      for (std::int64_t s = 0; s < F_in; ++s)
        for (std::int64_t f = 0; f < F; ++f) {
          center_rows[s * F + f] = from.center[f * F_in + s] + from.center_bias[f];
          skip_rows[s * F + f] = skips ? from.skip[f * F_in + s] : T(s == f);
        }
      w.center_rows = rows(center_rows, F_in, F);
      w.skip_rows = rows(skip_rows, F_in, F);
    } else {
      w.center_bias = rows(from.center_bias, 1, F);
      w.center = linear(from.center, F, F_in, false, true);
      w.center_transposed = linear(from.center, F, F_in, true, true);
      if (skips) {
        w.skip = linear(from.skip, F, F_in, false, true);
        w.skip_transposed = linear(from.skip, F, F_in, true, true);
      }
    }
    for (const auto& layer : from.layers)
      layers_.push_back({linear(layer.inner, F, F, false), linear(layer.inner, F, F, true),
                         linear(layer.outer, F, F, false), linear(layer.outer, F, F, true),
                         rows(layer.inner_bias, 1, F), rows(layer.outer_bias, 1, F)});
    w.layers = layers_.data();
    w.n_layers = static_cast<std::int64_t>(layers_.size());
    w.energy = rows(from.energy, 1, F);
    w.energy_bias = from.energy_bias;
  }

  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  StageWeights<T> w{};

  // Number of sensitivities needed for pairs of an atom that are not shorter than `nearest`.
  std::int16_t reach(double nearest) const {
    const auto bin = static_cast<std::int64_t>(nearest / w.cutoff * kWindowBins - 0.01);
    return reach_[std::clamp<std::int64_t>(bin, 0, kWindowBins - 1)];
  }

 private:
  // n rows of width F, padded.
  const T* rows(const std::vector<T>& values, std::int64_t n, std::int64_t F) {
    std::vector<T> out(std::max<std::int64_t>(1, n) * w.padded, T(0));
    for (std::int64_t row = 0; row < n; ++row)
      std::copy_n(values.begin() + row * F, F, out.begin() + row * w.padded);
    return kept_.keep(out);
  }

  // Packs the weight [n_out, n_in] of torch.nn.Linear, y = x weight^T, for products with x or with
  // dE/dy. Rows are padded inside the stage, but not for its input features.
  PackedMatrix<T> linear(const std::vector<T>& weight, std::int64_t n_out, std::int64_t n_in,
                         bool transposed, bool enters = false) {
    const auto at = [&](std::int64_t from, std::int64_t to) {
      return from < n_in && to < n_out ? weight[to * n_in + from] : T(0);
    };
    const std::int64_t in = enters ? n_in : w.padded;
    if (transposed) return kept_.pack(w.padded, in, [&](auto k, auto n) { return at(n, k); });
    return kept_.pack(in, w.padded, at);
  }

  void set_sensitivities(const InteractionWeights<T>& from) {
    w.n_sensitivities = from.n_sensitivities();
    w.padded_sensitivities = padded_to(w.n_sensitivities, kernels_.lanes);
    std::vector<T> inverse = from.inverse_mu, width = from.sigma;
    inverse.resize(w.padded_sensitivities, T(0));
    width.resize(w.padded_sensitivities, T(0));
    window_begin_ = from.window_begin;
    window_end_ = from.window_end;
    reach_ = window_end_;
    for (std::int64_t bin = kWindowBins - 1; bin-- > 0;)
      reach_[bin] = std::max(reach_[bin], reach_[bin + 1]);
    w.inverse_mu = kept_.keep(inverse);
    w.sigma = kept_.keep(width);
    w.window_begin = window_begin_.data();
    w.window_end = window_end_.data();
  }

  const HipnnKernels<T>& kernels_;
  std::vector<std::int16_t> window_begin_, window_end_, reach_;
  std::vector<AtomLayerWeights<T>> layers_;
  PackedWeights<T> kept_;
};

}  // namespace ekd
