// Compiled once per instruction set; see simd.hpp, and the header for what is computed.
#include "ekd/hipnn_kernels.hpp"

#include "pairs.hpp"
#include "simd.hpp"

namespace {

using ekd::StagePairs;

constexpr std::int64_t kTile = 48;  // atoms that are taken through the layers together

std::int64_t most_pairs(const std::int64_t* offsets, std::int64_t begin, std::int64_t end) {
  std::int64_t most = 0;
  for (std::int64_t i = begin; i < end; ++i)
    if (offsets[i + 1] - offsets[i] > most) most = offsets[i + 1] - offsets[i];
  return most;
}

std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// ---- the interaction of species -------------------------------------------------------------

// Adds s Y of n pairs, which the scratch has from `at` on, to the messages of their centre.
template <class T, int C>
EKD_INLINE void add_messages(const Weights<T>& w, const PairScratch<T>& scratch, std::int64_t at,
                             const std::int64_t* neighbors, std::int64_t n,
                             const std::int64_t* species, T* message) {
  const std::int64_t per_species = w.padded_sensitivities;
  const std::int64_t depth = w.mix.rows;  // (species, padded sensitivity)
  for (std::int64_t k = at; k < at + n; ++k) {
    const T* s = scratch.s + k * per_species;
    T tensor[C] = {1};
    read_tensor<T, C>(scratch, k, tensor);
    T* to = message + species[neighbors[k - at]] * per_species;
    for (std::int64_t v = scratch.begin[k] / kLanes<T> * kLanes<T>; v < scratch.end[k];
         v += kLanes<T>) {
      const Vector<T> value = load(s + v);
#pragma GCC unroll 9
      for (int c = 0; c < C; ++c)
        store(to + c * depth + v, load(to + c * depth + v) + tensor[c] * value);
    }
  }
}

// From dE/d(messages) of a centre to what its n pairs feel, for add_pair_gradients.
template <class T, int C>
EKD_INLINE void differentiate_messages(const Weights<T>& w, PairScratch<T>& scratch,
                                       std::int64_t at, const std::int64_t* neighbors,
                                       std::int64_t n, const std::int64_t* species,
                                       const T* message) {
  const std::int64_t per_species = w.padded_sensitivities;
  const std::int64_t stride = w.mix_transposed.columns;
  for (std::int64_t k = at; k < at + n; ++k) {
    const T* s = scratch.s + k * per_species;
    const T* slope = scratch.slope + k * per_species;
    T tensor[C];
    read_tensor<T, C>(scratch, k, tensor);
    const T* from = message + species[neighbors[k - at]] * per_species;
    Vector<T> radial{};
    Vector<T> angular[C] = {};
    for (std::int64_t v = scratch.begin[k] / kLanes<T> * kLanes<T>; v < scratch.end[k];
         v += kLanes<T>) {
      const Vector<T> value = load(s + v);
      Vector<T> total = load(from + v);
#pragma GCC unroll 9
      for (int c = 1; c < C; ++c) {
        const Vector<T> m = load(from + c * stride + v);
        total += tensor[c] * m;
        angular[c] += value * m;
      }
      radial += load(slope + v) * total;
    }
    keep_sums<T, C>(scratch, k, radial, angular);
  }
}

template <class T, int C>
void mix_species(const Weights<T>& w, const StagePairs& pairs, const std::int64_t* species,
                 std::int64_t begin, std::int64_t end, T* mixed) {
  const std::int64_t depth = w.mix.rows;
  Scratch<T> messages(kTile * C * depth);
  PairScratch<T> scratch(w, most_pairs(pairs.of_centers.offsets, begin, end));
  for (std::int64_t tile = begin; tile < end; tile += kTile) {
    const std::int64_t rows = least(kTile, end - tile);
    std::memset(messages, 0, sizeof(T) * rows * C * depth);
    for (std::int64_t i = tile; i < tile + rows; ++i) {
      const std::int64_t first = pairs.of_centers.offsets[i];
      const std::int64_t n = pairs.of_centers.offsets[i + 1] - first;
      describe_pairs<T, C, false>(
          w, pairs.vectors, 1.0, n, [=](std::int64_t k) { return first + k; }, scratch);
      add_messages<T, C>(w, scratch, 0, pairs.of_centers.others + first, n, species,
                         messages + (i - tile) * C * depth);
    }
    multiply<T>(rows * C, messages, depth, w.mix, mixed + (tile - begin) * C * w.padded, w.padded);
  }
}

template <class T, int C>
void differentiate_species(const Weights<T>& w, const StagePairs& pairs,
                           const std::int64_t* species, const T* gradient, std::int64_t begin,
                           std::int64_t end, double* pair_gradients) {
  const std::int64_t stride = w.mix_transposed.columns;
  Scratch<T> messages(kTile * C * stride);
  PairScratch<T> scratch(w, most_pairs(pairs.of_centers.offsets, begin, end));
  for (std::int64_t tile = begin; tile < end; tile += kTile) {
    const std::int64_t rows = least(kTile, end - tile);
    multiply<T>(rows * C, gradient + (tile - begin) * C * w.padded, w.padded, w.mix_transposed,
                messages, stride);
    for (std::int64_t i = tile; i < tile + rows; ++i) {
      const std::int64_t first = pairs.of_centers.offsets[i];
      const std::int64_t n = pairs.of_centers.offsets[i + 1] - first;
      const auto pair_of = [=](std::int64_t k) { return first + k; };
      describe_pairs<T, C, true>(w, pairs.vectors, 1.0, n, pair_of, scratch);
      differentiate_messages<T, C>(w, scratch, 0, pairs.of_centers.others + first, n, species,
                                   messages + (i - tile) * C * stride);
      add_pair_gradients<T, C>(scratch, 1.0, n, pair_of, pair_gradients);
    }
  }
}

// ---- later interactions ---------------------------------------------------------------------

// Index of the k-th of the pairs that begin at number `first`.
auto in_order(const ekd::AtomPairs& rows, std::int64_t first) {
  return [order = rows.order, first](std::int64_t k) {
    return order != nullptr ? order[first + k] : first + k;
  };
}

// Rows of atoms anywhere in the table, one after the other.
template <class T>
void collect(const T* table, std::int64_t width, const std::int64_t* atoms, std::int64_t n,
             T* rows) {
  for (std::int64_t k = 0; k < n; ++k)
    std::memcpy(rows + k * width, table + atoms[k] * width, sizeof(T) * width);
}

template <class T>
std::int64_t furthest(const std::int16_t* reach, const std::int64_t* atoms, std::int64_t n) {
  std::int64_t most = 0;
  for (std::int64_t k = 0; k < n; ++k)
    if (reach[atoms[k]] > most) most = reach[atoms[k]];
  return most;
}

template <class T>
void project(const Weights<T>& w, const T* features, const std::int64_t* atoms, std::int64_t begin,
             std::int64_t end, const std::int16_t* reach, const std::int64_t* q_rows, T* q) {
  const std::int64_t per_atom = w.n_sensitivities * w.padded;
  Scratch<T> rows(kTile * w.width_in);
  Scratch<T> products(kTile * per_atom);
  for (std::int64_t tile = begin; tile < end; tile += kTile) {
    const std::int64_t n = least(kTile, end - tile);
    const std::int64_t columns = furthest<T>(reach, atoms + tile, n) * w.padded;
    collect(features, w.width_in, atoms + tile, n, static_cast<T*>(rows));
    multiply_part<T>(n, rows, w.width_in, w.mix, w.width_in, columns, products, per_atom);
    for (std::int64_t k = 0; k < n; ++k)
      std::memcpy(q + q_rows[atoms[tile + k]] * per_atom, products + k * per_atom,
                  sizeof(T) * columns);
  }
}

// NV vectors of features, from `feature` on, of one centre.
template <class T, int C, int NV>
EKD_INLINE void mix_features(const PairScratch<T>& scratch, std::int64_t n_sensitivities,
                             std::int64_t padded, const T* const* q, std::int64_t n,
                             std::int64_t feature, T* mixed) {
  Vector<T> sums[C][NV] = {};
  for (std::int64_t k = 0; k < n; ++k) {
    const T* s = scratch.s + k * n_sensitivities;
    T tensor[C];
    read_tensor<T, C>(scratch, k, tensor);
    Vector<T> t[NV] = {};
    for (std::int64_t v = scratch.begin[k]; v < scratch.end[k]; ++v) {
      const T* row = q[k] + v * padded + feature;
#pragma GCC unroll 4
      for (int f = 0; f < NV; ++f) t[f] += s[v] * load(row + f * kLanes<T>);
    }
#pragma GCC unroll 9
    for (int c = 0; c < C; ++c)
#pragma GCC unroll 4
      for (int f = 0; f < NV; ++f) sums[c][f] += (c == 0 ? T(1) : tensor[c]) * t[f];
  }
#pragma GCC unroll 9
  for (int c = 0; c < C; ++c)
#pragma GCC unroll 4
    for (int f = 0; f < NV; ++f) store(mixed + c * padded + feature + f * kLanes<T>, sums[c][f]);
}

template <class T, int C>
void mix_neighbors(const Weights<T>& w, const StagePairs& pairs, const std::int64_t* q_rows,
                   const T* q, std::int64_t begin, std::int64_t end, T* mixed) {
  // As many features at a time as keep C sums of each in registers.
  constexpr int kWide = EKD_VECTOR_BYTES == 64 ? (C <= 4 ? 4 : 2) : 2;
  const std::int64_t per_atom = w.n_sensitivities * w.padded;
  const std::int64_t most = most_pairs(pairs.of_centers.offsets, begin, end);
  PairScratch<T> scratch(w, most);
  Scratch<const T*> rows(most);
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t first = pairs.of_centers.offsets[i];
    const std::int64_t n = pairs.of_centers.offsets[i + 1] - first;
    const auto pair_of = in_order(pairs.of_centers, first);
    describe_pairs<T, C, false>(w, pairs.vectors, pairs.sign, n, pair_of, scratch);
    for (std::int64_t k = 0; k < n; ++k)
      rows[k] = q + q_rows[pairs.of_centers.others[pair_of(k)]] * per_atom;
    T* out = mixed + (i - begin) * C * w.padded;
    std::int64_t f = 0;
    for (; f + kWide * kLanes<T> <= w.padded; f += kWide * kLanes<T>)
      mix_features<T, C, kWide>(scratch, w.padded_sensitivities, w.padded, rows, n, f, out);
    for (; f < w.padded; f += kLanes<T>)
      mix_features<T, C, 1>(scratch, w.padded_sensitivities, w.padded, rows, n, f, out);
  }
}

// One pair, NV vectors of features: adds to its gradient sums and to dE/dq of its neighbour.
template <class T, int C, int NV>
EKD_INLINE void differentiate_features(const T* s, const T* slope, std::int64_t v_begin,
                                       std::int64_t v_end, const T* tensor, const T* q,
                                       const T* gradient, std::int64_t padded, T* q_gradient,
                                       Vector<T>& radial, Vector<T>* angular) {
  Vector<T> t[NV] = {}, t_slope[NV] = {};
  for (std::int64_t v = v_begin; v < v_end; ++v)
#pragma GCC unroll 4
    for (int f = 0; f < NV; ++f) {
      const Vector<T> value = load(q + v * padded + f * kLanes<T>);
      t[f] += s[v] * value;
      t_slope[f] += slope[v] * value;
    }
  Vector<T> u[NV];
#pragma GCC unroll 4
  for (int f = 0; f < NV; ++f) u[f] = load(gradient + f * kLanes<T>);
#pragma GCC unroll 9
  for (int c = 1; c < C; ++c)
#pragma GCC unroll 4
    for (int f = 0; f < NV; ++f) {
      const Vector<T> g = load(gradient + c * padded + f * kLanes<T>);
      u[f] += tensor[c] * g;
      angular[c] += t[f] * g;
    }
#pragma GCC unroll 4
  for (int f = 0; f < NV; ++f) radial += t_slope[f] * u[f];
  for (std::int64_t v = v_begin; v < v_end; ++v)
#pragma GCC unroll 4
    for (int f = 0; f < NV; ++f) {
      T* to = q_gradient + v * padded + f * kLanes<T>;
      store(to, load(to) + s[v] * u[f]);
    }
}

template <class T, int C>
void differentiate_neighbors(const Weights<T>& w, const StagePairs& pairs,
                             const std::int64_t* q_rows, const T* q, const T* gradient,
                             const std::int64_t* atoms, const std::int16_t* reach,
                             std::int64_t begin, std::int64_t end, double* pair_gradients,
                             T* gradient_in) {
  constexpr int kWide = EKD_VECTOR_BYTES == 64 ? 4 : 2;
  constexpr std::int64_t kAtoms = 2 * kRows;  // few enough that their dE/dq stays in the cache
  const std::int64_t per_atom = w.n_sensitivities * w.padded;
  const std::int64_t width = w.mix_transposed.columns;  // F_in, padded
  const ekd::AtomPairs& mine = pairs.of_neighbors;
  std::int64_t most = 0;
  for (std::int64_t k = begin; k < end; ++k) {
    const std::int64_t n = mine.offsets[atoms[k] + 1] - mine.offsets[atoms[k]];
    if (n > most) most = n;
  }
  PairScratch<T> scratch(w, most);
  Scratch<T> q_gradients(kAtoms * per_atom);
  Scratch<T> products(kAtoms * width);
  for (std::int64_t tile = begin; tile < end; tile += kAtoms) {
    const std::int64_t n_atoms = least(kAtoms, end - tile);
    const std::int64_t depth = furthest<T>(reach, atoms + tile, n_atoms) * w.padded;
    for (std::int64_t a = 0; a < n_atoms; ++a) {
      const std::int64_t j = atoms[tile + a];
      T* const q_gradient = q_gradients + a * per_atom;
      const T* const q_row = q + q_rows[j] * per_atom;
      std::memset(q_gradient, 0, sizeof(T) * depth);
      const auto pair_of = in_order(mine, mine.offsets[j]);
      const std::int64_t n = mine.offsets[j + 1] - mine.offsets[j];
      describe_pairs<T, C, true>(w, pairs.vectors, pairs.sign, n, pair_of, scratch);
      for (std::int64_t k = 0; k < n; ++k) {
        const T* g = gradient + mine.others[pair_of(k)] * C * w.padded;
        const T* s = scratch.s + k * w.padded_sensitivities;
        const T* slope = scratch.slope + k * w.padded_sensitivities;
        T tensor[C];
        read_tensor<T, C>(scratch, k, tensor);
        Vector<T> radial{};
        Vector<T> angular[C] = {};
        std::int64_t f = 0;
        for (; f + kWide * kLanes<T> <= w.padded; f += kWide * kLanes<T>)
          differentiate_features<T, C, kWide>(s, slope, scratch.begin[k], scratch.end[k], tensor,
                                              q_row + f, g + f, w.padded, q_gradient + f, radial,
                                              angular);
        for (; f < w.padded; f += kLanes<T>)
          differentiate_features<T, C, 1>(s, slope, scratch.begin[k], scratch.end[k], tensor,
                                          q_row + f, g + f, w.padded, q_gradient + f, radial,
                                          angular);
        keep_sums<T, C>(scratch, k, radial, angular);
      }
      add_pair_gradients<T, C>(scratch, pairs.sign, n, pair_of, pair_gradients);
    }
    multiply_part<T>(n_atoms, q_gradients, per_atom, w.mix_transposed, depth, width, products,
                     width);
    for (std::int64_t a = 0; a < n_atoms; ++a)
      for (std::int64_t f = 0; f < w.width_in; ++f)
        gradient_in[atoms[tile + a] * w.width_in + f] += products[a * width + f];
  }
}

// ---- the layers of an atom ------------------------------------------------------------------

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
  // Of the full 3 x 3 tensor, with zz = -xx - yy put in.
  for (int c = 4; c < 9; ++c) {
    const Vector<T> value = load(a + c * padded);
    total += value * value;
  }
  return T(2) * (total + load(a + 4 * padded) * load(a + 7 * padded));
}

// softplus of a tile in place; its slope where wanted.
template <class T>
void apply_softplus(T* values, std::int64_t n, T* slopes) {
  for (std::int64_t k = 0; k < n; k += kLanes<T>) {
    Vector<T> value, slope;
    softplus<T>(load(values + k), value, slope);
    store(values + k, value);
    if (slopes != nullptr) store(slopes + k, slope);
  }
}

// From A (of these centres) to the features that leave, for `rows` centres from `tile` on.
// Energies are added to.
template <class T>
void layers_forward(const Weights<T>& w, const std::int64_t* species, const T* features,
                    const T* mixed, std::int64_t tile, std::int64_t rows, bool slopes,
                    LayerScratch<T>& scratch, double* energies) {
  const std::int64_t W = w.padded;
  T* const pre = scratch.inner;
  T* const z = scratch.features;
  if (!w.of_species)
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

// The features that leave, without their padding.
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

// ---- all of a network with one interaction ---------------------------------------------------

// Pairs are described once, on the way forward, and the description is there on the way back: so
// few centres are taken together that it stays in the cache.
constexpr std::int64_t kCentersTogether = 16;

template <class T, int C>
void evaluate_species(const Weights<T>& w, const StagePairs& pairs, const std::int64_t* species,
                      const double* seeds, std::int64_t begin, std::int64_t end, double* energies,
                      double* pair_gradients, T* features_out) {
  const std::int64_t depth = w.mix.rows;
  const std::int64_t stride = w.mix_transposed.columns;
  const std::int64_t room = whole_vectors<T>(most_pairs(pairs.of_centers.offsets, begin, end));
  Scratch<T> messages(kCentersTogether * C * (depth > stride ? depth : stride));
  Scratch<T> mixed(kCentersTogether * C * w.padded);
  PairScratch<T> scratch(w, kCentersTogether * room);
  for (std::int64_t tile = begin; tile < end; tile += kCentersTogether) {
    const std::int64_t rows = least(kCentersTogether, end - tile);
    std::memset(messages, 0, sizeof(T) * rows * C * depth);
    std::int64_t at = 0;
    for (std::int64_t i = tile; i < tile + rows; ++i) {
      const std::int64_t first = pairs.of_centers.offsets[i];
      const std::int64_t n = pairs.of_centers.offsets[i + 1] - first;
      describe_pairs<T, C, true>(
          w, pairs.vectors, 1.0, n, [=](std::int64_t k) { return first + k; }, scratch, at);
      add_messages<T, C>(w, scratch, at, pairs.of_centers.others + first, n, species,
                         messages + (i - tile) * C * depth);
      at += whole_vectors<T>(n);
    }
    multiply<T>(rows * C, messages, depth, w.mix, mixed, w.padded);
    backpropagate<T>(w, species, nullptr, seeds, nullptr, tile, tile + rows, mixed, energies,
                     nullptr, features_out);
    multiply<T>(rows * C, mixed, w.padded, w.mix_transposed, messages, stride);
    at = 0;
    for (std::int64_t i = tile; i < tile + rows; ++i) {
      const std::int64_t first = pairs.of_centers.offsets[i];
      const std::int64_t n = pairs.of_centers.offsets[i + 1] - first;
      differentiate_messages<T, C>(w, scratch, at, pairs.of_centers.others + first, n, species,
                                   messages + (i - tile) * C * stride);
      add_pair_gradients<T, C>(
          scratch, 1.0, n, [=](std::int64_t k) { return first + k; }, pair_gradients, at);
      at += whole_vectors<T>(n);
    }
  }
}

template <class T>
void evaluate_alone(const Weights<T>& w, const StagePairs& pairs, const std::int64_t* species,
                    const double* seeds, std::int64_t begin, std::int64_t end, double* energies,
                    double* pair_gradients, T* features_out) {
  const auto run = [&](auto of_species) {
    of_species(w, pairs, species, seeds, begin, end, energies, pair_gradients, features_out);
  };
  if (w.n_components == 1) run(evaluate_species<T, 1>);
  if (w.n_components == 4) run(evaluate_species<T, 4>);
  if (w.n_components == 9) run(evaluate_species<T, 9>);
}

// ---- the uncertainty of the forces ------------------------------------------------------------

template <class T>
void read_uncertainty(const ekd::UncertaintyWeights<T>& w, const T* const* features,
                      std::int64_t begin, std::int64_t end, double* uncertainty) {
  const std::int64_t H = w.second.columns;
  Scratch<T> entering(kTile * H);
  Scratch<T> hidden(kTile * H);
  Scratch<double> found(kTile);
  for (std::int64_t tile = begin; tile < end; tile += kTile) {
    const std::int64_t rows = least(kTile, end - tile);
    for (std::int64_t level = 0; level < w.n_levels; ++level) {
      const auto& matrix = w.first[level];
      multiply<T>(rows, features[level] + tile * matrix.rows, matrix.rows, matrix, entering, H,
                  level == 0 ? w.first_bias : nullptr, level == 0 ? Into::kOverwrite : Into::kAdd);
    }
    apply_softplus<T>(entering, rows * H, nullptr);
    multiply<T>(rows, entering, H, w.second, hidden, H, w.second_bias);
    apply_softplus<T>(hidden, rows * H, nullptr);
    for (std::int64_t row = 0; row < rows; ++row) {
      Vector<T> total{};
      for (std::int64_t f = 0; f < H; f += kLanes<T>)
        total += load(hidden + row * H + f) * load(w.readout + f);
      found[row] = static_cast<double>(sum<T>(total) + w.readout_bias);
    }
    for (std::int64_t row = rows; row < kTile; ++row) found[row] = 0.0;
    apply_softplus<double>(found, kTile, nullptr);  // whole vectors
    std::memcpy(uncertainty + tile, found, sizeof(double) * rows);
  }
}

// ---- the table ------------------------------------------------------------------------------

template <class T>
void mix(const Weights<T>& w, const StagePairs& pairs, const std::int64_t* species,
         const std::int64_t* q_rows, const T* q, std::int64_t begin, std::int64_t end, T* mixed) {
  const auto run = [&](auto of_species, auto of_features) {
    if (w.of_species)
      of_species(w, pairs, species, begin, end, mixed);
    else
      of_features(w, pairs, q_rows, q, begin, end, mixed);
  };
  if (w.n_components == 1) run(mix_species<T, 1>, mix_neighbors<T, 1>);
  if (w.n_components == 4) run(mix_species<T, 4>, mix_neighbors<T, 4>);
  if (w.n_components == 9) run(mix_species<T, 9>, mix_neighbors<T, 9>);
}

template <class T>
void differentiate(const Weights<T>& w, const StagePairs& pairs, const std::int64_t* species,
                   const std::int64_t* q_rows, const T* q, const T* gradient,
                   const std::int64_t* atoms, const std::int16_t* reach, std::int64_t begin,
                   std::int64_t end, double* pair_gradients, T* gradient_in) {
  const auto run = [&](auto of_species, auto of_features) {
    if (w.of_species)
      of_species(w, pairs, species, gradient, begin, end, pair_gradients);
    else
      of_features(w, pairs, q_rows, q, gradient, atoms, reach, begin, end, pair_gradients,
                  gradient_in);
  };
  if (w.n_components == 1) run(differentiate_species<T, 1>, differentiate_neighbors<T, 1>);
  if (w.n_components == 4) run(differentiate_species<T, 4>, differentiate_neighbors<T, 4>);
  if (w.n_components == 9) run(differentiate_species<T, 9>, differentiate_neighbors<T, 9>);
}

}  // namespace

// Constants: nothing of this file runs before its instruction set was chosen.
#define EKD_JOIN(a, b) a##b
#define EKD_NAME(prefix, isa) EKD_JOIN(prefix, isa)
#define EKD_TEXT(isa) EKD_QUOTED(isa)
#define EKD_QUOTED(isa) #isa
#define EKD_TABLE(T, prefix)                                   \
  extern const HipnnKernels<T> EKD_NAME(prefix, EKD_ISA);      \
  constinit const HipnnKernels<T> EKD_NAME(prefix, EKD_ISA){   \
      EKD_TEXT(EKD_ISA),  kLanes<T>,        kPanel<T>,         \
      project<T>,         mix<T>,           activate<T>,       \
      backpropagate<T>,   differentiate<T>, evaluate_alone<T>, \
      read_uncertainty<T>};

namespace ekd {
EKD_TABLE(float, hipnn_float_)
EKD_TABLE(double, hipnn_double_)
}  // namespace ekd
