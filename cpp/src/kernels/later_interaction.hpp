// Interactions after the first, whose inputs are features. Compiled once per instruction set, like
// simd.hpp.
#pragma once

#include "ekd/hipnn_kernels.hpp"
#include "pairs.hpp"
#include "simd.hpp"
#include "tiles.hpp"

namespace {

// Index of the k-th pair after `first`.
auto in_order(const ekd::AtomPairs& rows, std::int64_t first) {
  return [order = rows.order, first](std::int64_t k) {
    return order != nullptr ? order[first + k] : first + k;
  };
}

// Gathers rows of atoms from a table.
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

// NV vectors of features of one center, beginning at `feature`.
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
  // The number of features at once is limited by registers for C sums of each.
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

// One pair, NV vectors of features: adds to its gradient sums and to dE/dq of its neighbor.
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

}  // namespace
