// The atom layers, forward and backward. Compiled once per instruction set, like simd.hpp.
#pragma once

#include "ekd/hipnn_kernels.hpp"
#include "pairs.hpp"
#include "simd.hpp"
#include "tiles.hpp"

namespace {

// Rows of a tile; every array is [kTile, W].
template <class T>
struct LayerScratch {
  LayerScratch(const Weights<T>& w, bool slopes)
      : inner(kTile * w.padded),
        features(kTile * w.padded),
        first_slope(slopes ? kTile * w.padded : 0),
        slopes(slopes ? w.n_layers * kTile * w.padded : 0) {}
  Scratch<T> inner, features, first_slope, slopes;
};

template <class T>
EKD_INLINE Vector<T> squared_norm(const T* a, std::int64_t padded, int rank) {
  Vector<T> total{};
  if (rank == 1) {
    for (int c = 1; c < 4; ++c) {
      const Vector<T> value = load(a + c * padded);
      total += value * value;
    }
    return total;
  }
  // Square of the full 3 x 3 tensor with zz = -xx - yy.
  for (int c = 4; c < 9; ++c) {
    const Vector<T> value = load(a + c * padded);
    total += value * value;
  }
  return T(2) * (total + load(a + 4 * padded) * load(a + 7 * padded));
}

// softplus of a tile in place; optionally its slope.
template <class T>
void apply_softplus(T* values, std::int64_t n, T* slopes) {
  for (std::int64_t k = 0; k < n; k += kLanes<T>) {
    Vector<T> value, slope;
    softplus<T>(load(values + k), value, slope);
    store(values + k, value);
    if (slopes != nullptr) store(slopes + k, slope);
  }
}

// From A to output features, for `rows` centers beginning at `tile`. Energies are accumulated.
template <class T>
void layers_forward(const Weights<T>& w, const std::int64_t* species, const T* features,
                    const T* mixed, std::int64_t tile, std::int64_t rows, bool slopes,
                    LayerScratch<T>& scratch, double* energies) {
  const std::int64_t W = w.padded;
  T* const pre = scratch.inner;
  T* const z = scratch.features;
  if (!w.of_species)  // the features exist, which the analyzer cannot know
    // NOLINTNEXTLINE(clang-analyzer-core.NullPointerArithm)
    multiply<T>(rows, features + tile * w.width_in, w.width_in, w.center, pre, W, w.center_bias);
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* a = mixed + row * w.n_components * W;
    const T* begin = w.of_species ? w.center_rows + species[tile + row] * W : pre + row * W;
    for (std::int64_t f = 0; f < W; f += kLanes<T>) {
      Vector<T> value = load(begin + f) + load(a + f);
      for (int rank = 1; rank * rank < w.n_components; ++rank)
        value += load(w.tensor_scales + (rank - 1) * W + f) *
                 root<T>(squared_norm(a + f, W, rank) + w.cusp);
      store(pre + row * W + f, value);
    }
  }
  apply_softplus<T>(pre, rows * W, slopes ? static_cast<T*>(scratch.first_slope) : nullptr);
  multiply<T>(rows, pre, W, w.outer, z, W, w.outer_bias);
  if (w.of_species) {
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t f = 0; f < W; ++f)
        z[row * W + f] += w.skip_rows[species[tile + row] * W + f];
  } else if (w.skip.data != nullptr) {
    multiply<T>(rows, features + tile * w.width_in, w.width_in, w.skip, z, W, nullptr, Into::kAdd);
  } else {
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t f = 0; f < w.width_in; ++f)
        z[row * W + f] += features[(tile + row) * w.width_in + f];
  }
  for (std::int64_t layer = 0; layer < w.n_layers; ++layer) {
    const auto& weights = w.layers[layer];
    multiply<T>(rows, z, W, weights.inner, pre, W, weights.inner_bias);
    apply_softplus<T>(pre, rows * W, slopes ? scratch.slopes + layer * kTile * W : nullptr);
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t f = 0; f < W; ++f) z[row * W + f] += weights.outer_bias[f];
    multiply<T>(rows, pre, W, weights.outer, z, W, nullptr, Into::kAdd);
  }
  if (energies == nullptr) return;
  for (std::int64_t row = 0; row < rows; ++row) {
    Vector<T> total{};
    for (std::int64_t f = 0; f < W; f += kLanes<T>)
      total += load(z + row * W + f) * load(w.energy + f);
    energies[tile + row] += static_cast<double>(sum<T>(total) + w.energy_bias);
  }
}

// Copies output features without padding.
template <class T>
void copy_features(const Weights<T>& w, const LayerScratch<T>& scratch, std::int64_t tile,
                   std::int64_t rows, T* features_out) {
  for (std::int64_t row = 0; row < rows; ++row)
    std::memcpy(features_out + (tile + row) * w.width_out, scratch.features + row * w.padded,
                sizeof(T) * w.width_out);
}

template <class T>
void activate(const Weights<T>& w, const std::int64_t* species, const T* features, const T* mixed,
              std::int64_t begin, std::int64_t end, T* features_out, double* energies) {
  LayerScratch<T> scratch(w, false);
  for (std::int64_t tile = begin; tile < end; tile += kTile) {
    const std::int64_t rows = least(kTile, end - tile);
    layers_forward(w, species, features, mixed + (tile - begin) * w.n_components * w.padded, tile,
                   rows, false, scratch, energies);
    copy_features(w, scratch, tile, rows, features_out);
  }
}

template <class T>
void backpropagate(const Weights<T>& w, const std::int64_t* species, const T* features,
                   const double* seeds, const T* gradient_out, std::int64_t begin, std::int64_t end,
                   T* mixed, double* energies, T* gradient_in, T* features_out) {
  const std::int64_t W = w.padded;
  const std::int64_t width = w.center_transposed.columns;  // F_in, padded
  LayerScratch<T> scratch(w, true);
  Scratch<T> entering(kTile * width);
  for (std::int64_t tile = begin; tile < end; tile += kTile) {
    const std::int64_t rows = least(kTile, end - tile);
    T* const tile_mixed = mixed + (tile - begin) * w.n_components * W;
    layers_forward(w, species, features, tile_mixed, tile, rows, true, scratch, energies);
    if (features_out != nullptr) copy_features(w, scratch, tile, rows, features_out);
    T* const g = scratch.features;  // dE/dz
    T* const h = scratch.inner;
    for (std::int64_t row = 0; row < rows; ++row) {
      const T seed = static_cast<T>(seeds[tile + row]);
      for (std::int64_t f = 0; f < W; ++f) g[row * W + f] = seed * w.energy[f];
      if (gradient_out != nullptr)
        for (std::int64_t f = 0; f < w.width_out; ++f)
          g[row * W + f] += gradient_out[(tile + row) * w.width_out + f];
    }
    for (std::int64_t layer = w.n_layers - 1; layer >= 0; --layer) {
      const auto& weights = w.layers[layer];
      const T* slope = scratch.slopes + layer * kTile * W;
      multiply<T>(rows, g, W, weights.outer_transposed, h, W);
      for (std::int64_t k = 0; k < rows * W; ++k) h[k] *= slope[k];
      multiply<T>(rows, h, W, weights.inner_transposed, g, W, nullptr, Into::kAdd);
    }
    multiply<T>(rows, g, W, w.outer_transposed, h, W);
    for (std::int64_t k = 0; k < rows * W; ++k) h[k] *= scratch.first_slope[k];
    if (gradient_in != nullptr) {
      multiply<T>(rows, h, W, w.center_transposed, entering, width);
      if (w.skip_transposed.data != nullptr)
        multiply<T>(rows, g, W, w.skip_transposed, entering, width, nullptr, Into::kAdd);
      for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t f = 0; f < w.width_in; ++f)
          gradient_in[(tile + row) * w.width_in + f] =
              entering[row * width + f] +
              (w.skip_transposed.data == nullptr ? g[row * W + f] : T(0));
    }
    for (std::int64_t row = 0; row < rows; ++row) {
      T* a = tile_mixed + row * w.n_components * W;
      for (std::int64_t f = 0; f < W; f += kLanes<T>) {
        const Vector<T> pre = load(h + row * W + f);
        if (w.n_components >= 4) {
          const Vector<T> factor =
              pre * load(w.tensor_scales + f) / root<T>(squared_norm(a + f, W, 1) + w.cusp);
          for (int c = 1; c < 4; ++c) store(a + c * W + f, load(a + c * W + f) * factor);
        }
        if (w.n_components >= 9) {
          const Vector<T> factor =
              pre * load(w.tensor_scales + W + f) / root<T>(squared_norm(a + f, W, 2) + w.cusp);
          const Vector<T> xx = load(a + 4 * W + f);
          const Vector<T> yy = load(a + 7 * W + f);
          store(a + 4 * W + f, (xx + xx + yy) * factor);
          store(a + 7 * W + f, (yy + yy + xx) * factor);
          for (int c = 5; c < 9; ++c) {
            if (c == 7) continue;
            const Vector<T> value = load(a + c * W + f);
            store(a + c * W + f, (value + value) * factor);
          }
        }
        store(a + f, pre);
      }
    }
  }
}

}  // namespace
