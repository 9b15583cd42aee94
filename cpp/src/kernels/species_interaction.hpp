// The first interaction, whose inputs are species. Compiled once per instruction set, like
// simd.hpp.
#pragma once

#include "ekd/hipnn_kernels.hpp"
#include "pairs.hpp"
#include "simd.hpp"
#include "tiles.hpp"

namespace {

// Adds s Y of n pairs, stored in the scratch from `at`, to the messages of their center.
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

// From dE/d(messages) of a center to the gradient sums of its n pairs, for add_pair_gradients.
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

}  // namespace
