// Geometry of the pairs of an atom for the network kernels: sensitivities, directions and their
// derivatives. Compiled once per instruction set, like simd.hpp.
#pragma once

#include "ekd/hipnn_kernels.hpp"
#include "simd.hpp"

namespace {

using ekd::kMaxComponents;
using ekd::kWindowBins;
using ekd::StagePairs;
template <class T>
using Weights = ekd::StageWeights<T>;

template <class T>
std::int64_t whole_vectors(std::int64_t n) {
  return (n + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

// Data of the pairs of one or several atoms; the pairs of each atom begin at a whole SIMD vector.
template <class T>
struct PairScratch {
  PairScratch(const Weights<T>& w, std::int64_t n)
      : capacity(whole_vectors<T>(n)),
        inverse_r(capacity),
        envelope(capacity),
        envelope_slope(capacity),
        tensors(kMaxComponents * capacity),
        radial(capacity),
        angular(kMaxComponents * capacity),
        s(w.padded_sensitivities * capacity),
        slope(w.padded_sensitivities * capacity),
        begin(capacity),
        end(capacity) {}

  std::int64_t capacity;
  Scratch<T> inverse_r;              // [n]
  Scratch<T> envelope;               // [n], cos²(pi r / 2R)
  Scratch<T> envelope_slope;         // [n], d/dr
  Scratch<T> tensors;                // [kMaxComponents, capacity], first row unused
  Scratch<T> radial;                 // [n], dE/dr
  Scratch<T> angular;                // [kMaxComponents, capacity], dE/d(tensor component)
  Scratch<T> s;                      // [n, padded_sensitivities], inside the window
  Scratch<T> slope;                  // [n, padded_sensitivities], ds/dr
  Scratch<std::int16_t> begin, end;  // [n], window
};

// Computes the data of n pairs, stored from `at`; `pair_of(k)` is the index of the k-th pair.
template <class T, int C, bool kSlopes, class PairOf>
EKD_INLINE void describe_pairs(const Weights<T>& w, const double* vectors, double sign,
                               std::int64_t n, PairOf pair_of, PairScratch<T>& scratch,
                               std::int64_t at = 0) {
  // The components of rank 1 are the unit vector.
  const std::int64_t capacity = scratch.capacity;
  T* const x = scratch.tensors + capacity + at;
  T* const y = x + capacity;
  T* const z = y + capacity;
  for (std::int64_t k = 0; k < n; ++k) {
    const double* r = vectors + 3 * pair_of(k);
    x[k] = static_cast<T>(sign * r[0]);
    y[k] = static_cast<T>(sign * r[1]);
    z[k] = static_cast<T>(sign * r[2]);
  }
  for (std::int64_t k = n; k < whole_vectors<T>(n); ++k) x[k] = y[k] = z[k] = w.cutoff;
  const T to_angle = T(1.57079632679489661923) / w.cutoff;
  const T to_bin = T(kWindowBins) / w.cutoff;
  for (std::int64_t k = 0; k < n; k += kLanes<T>) {
    const Vector<T> vx = load(x + k), vy = load(y + k), vz = load(z + k);
    const Vector<T> square = vx * vx + vy * vy + vz * vz;
    const Vector<T> r = root<T>(square);
    const Vector<T> inverse = T(1) / r;
    const Vector<T> ux = vx * inverse, uy = vy * inverse, uz = vz * inverse;
    store(x + k, ux);
    store(y + k, uy);
    store(z + k, uz);
    store<T>(scratch.inverse_r + at + k, inverse);
    if (C >= 9) {
      T* const rank_2 = scratch.tensors + 4 * capacity + at + k;
      store<T>(rank_2, ux * ux - T(1.0 / 3));
      store<T>(rank_2 + capacity, ux * uy);
      store<T>(rank_2 + 2 * capacity, ux * uz);
      store<T>(rank_2 + 3 * capacity, uy * uy - T(1.0 / 3));
      store<T>(rank_2 + 4 * capacity, uy * uz);
    }
    // cos(pi r / 2R) = sin(pi (R - r) / 2R)
    const Vector<T> zero{};
    const auto inside = r < w.cutoff;
    const Vector<T> angle = (broadcast<T>(w.cutoff) - r) * to_angle;
    Vector<T> sine, cosine;
    sine_cosine<T>(larger(angle, zero), sine, cosine);
    store<T>(scratch.envelope + at + k, inside ? sine * sine : zero);
    if (kSlopes)
      store<T>(scratch.envelope_slope + at + k, inside ? T(-2) * to_angle * sine * cosine : zero);
    const Vector<T> bin = smaller(r * to_bin, broadcast<T>(kWindowBins - 1));
    for (int lane = 0; lane < kLanes<T>; ++lane) {
      const auto b = static_cast<std::int64_t>(bin[lane]);
      scratch.begin[at + k + lane] = w.window_begin[b];
      scratch.end[at + k + lane] = w.window_end[b];
    }
  }
  for (std::int64_t k = at; k < at + n; ++k) {
    const T inverse = scratch.inverse_r[k];
    const T cut = scratch.envelope[k];
    const T cut_slope = kSlopes ? scratch.envelope_slope[k] : T(0);
    const std::int64_t row = k * w.padded_sensitivities;
    for (std::int64_t v = scratch.begin[k] / kLanes<T> * kLanes<T>; v < scratch.end[k];
         v += kLanes<T>) {
      const Vector<T> sigma = load(w.sigma + v);
      const Vector<T> u = (inverse - load(w.inverse_mu + v)) * sigma;
      const Vector<T> bell = exponential<T>(T(-0.5) * u * u);
      store<T>(scratch.s + row + v, bell * cut);
      if (kSlopes)
        store<T>(scratch.slope + row + v,
                 bell * (u * sigma * (inverse * inverse * cut) + cut_slope));
    }
  }
}

// The components of rank 1 and 2 of pair k, each in its own register.
template <class T, int C>
EKD_INLINE void read_tensor(const PairScratch<T>& scratch, std::int64_t k, T* tensor) {
#pragma GCC unroll 9
  for (int c = 1; c < C; ++c) tensor[c] = scratch.tensors[c * scratch.capacity + k];
}

// Stores the gradient sums of pair k over features, for add_pair_gradients.
template <class T, int C>
EKD_INLINE void keep_sums(PairScratch<T>& scratch, std::int64_t k, Vector<T> radial,
                          const Vector<T>* angular) {
  scratch.radial[k] = sum<T>(radial);
#pragma GCC unroll 9
  for (int c = 1; c < C; ++c) scratch.angular[c * scratch.capacity + k] = sum<T>(angular[c]);
}

// Adds dE/d(vector) of n pairs, from the sums stored in the scratch beginning at `at`.
template <class T, int C, class PairOf>
EKD_INLINE void add_pair_gradients(PairScratch<T>& scratch, double sign, std::int64_t n,
                                   PairOf pair_of, double* pair_gradients, std::int64_t at = 0) {
  const std::int64_t capacity = scratch.capacity;
  T* const out_x = scratch.angular;  // row of component 0, and rows no longer needed
  T* const out_y = scratch.envelope;
  T* const out_z = scratch.envelope_slope;
  for (std::int64_t k = at; k < at + n; k += kLanes<T>) {
    const Vector<T> x = load(scratch.tensors + capacity + k);
    const Vector<T> y = load(scratch.tensors + 2 * capacity + k);
    const Vector<T> z = load(scratch.tensors + 3 * capacity + k);
    const auto angular = [&](int c) { return load(scratch.angular + c * capacity + k); };
    Vector<T> to_x{}, to_y{}, to_z{};  // dE/d(unit vector)
    if (C >= 4) {
      to_x = angular(1);
      to_y = angular(2);
      to_z = angular(3);
    }
    if (C >= 9) {
      to_x += T(2) * x * angular(4) + y * angular(5) + z * angular(6);
      to_y += x * angular(5) + T(2) * y * angular(7) + z * angular(8);
      to_z += x * angular(6) + y * angular(8);
    }
    const Vector<T> inverse_r = load(scratch.inverse_r + k);
    const Vector<T> along = to_x * x + to_y * y + to_z * z;
    // The component along the vector comes only from the length.
    const Vector<T> factor = load(scratch.radial + k) - along * inverse_r;
    store<T>(out_x + k, factor * x + to_x * inverse_r);
    store<T>(out_y + k, factor * y + to_y * inverse_r);
    store<T>(out_z + k, factor * z + to_z * inverse_r);
  }
  for (std::int64_t k = 0; k < n; ++k) {
    double* const out = pair_gradients + 3 * pair_of(k);
    out[0] += sign * out_x[at + k];
    out[1] += sign * out_y[at + k];
    out[2] += sign * out_z[at + k];
  }
}

}  // namespace
