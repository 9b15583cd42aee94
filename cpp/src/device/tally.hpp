// From pair gradients to forces and virials.
//
// With d from an atom to its neighbor and g = dE/dd: force += g on the atom, -= g on the neighbor,
// virial -= d g.
#pragma once

#include "arguments.hpp"

namespace ekd::device {

constexpr int kSums = 9;  // per atom: force, and virial xx, yy, zz, xy, xz, yz

// Adds a force in eV/Å. Fixed-point forces are scaled after their sum, so that their range does not
// depend on the units of the run.
EKD_DEVICE void add_force(const Results& results, int atom, double x, double y, double z) {
  const Int64 at = 3 * static_cast<Int64>(atom);
  if (results.fixed_forces != nullptr) {
    const double force[3] = {x, y, z};
    for (int d = 0; d < 3; ++d) {
      // The condition treats NaN as too large.
      if (!(force[d] < kLargestFixed && force[d] > -kLargestFixed)) {
        set_together(results.status, kTooLarge);
        continue;
      }
#ifdef EKD_ON_DEVICE
      atomicAdd(reinterpret_cast<unsigned long long*>(results.fixed_forces + at + d),
                static_cast<unsigned long long>(to_nearest(force[d] * kFixedPoint)));
#else
      results.fixed_forces[at + d] += to_nearest(force[d] * kFixedPoint);
#endif
    }
  } else if (results.forces != nullptr) {
    add_together(results.forces + at, results.scale * x);
    add_together(results.forces + at + 1, results.scale * y);
    add_together(results.forces + at + 2, results.scale * z);
  }
}

// Adds contributions of a pair to the neighbor, and those to the atom to its sums. `slot`: index of
// the pair, if pairs were given.
template <class T>
EKD_DEVICE void tally_pair(const Results& results, Int64 slot, const Pair<T>& pair, const T* g,
                           double* sums) {
  for (int c = 0; c < 3; ++c) sums[c] += static_cast<double>(g[c]);
  const double scale = results.scale;
  if (results.pair_gradients != nullptr) {
    for (int d = 0; d < 3; ++d)
      results.pair_gradients[3 * slot + d] += scale * static_cast<double>(g[d]);
    return;
  }
  add_force(results, pair.neighbor, -static_cast<double>(g[0]), -static_cast<double>(g[1]),
            -static_cast<double>(g[2]));
  if (results.virial == nullptr && results.atomic_virials == nullptr &&
      results.centroid_virials == nullptr)
    return;
  const T d[3] = {pair.x, pair.y, pair.z};
  const T v[6] = {-d[0] * g[0],
                  -d[1] * g[1],
                  -d[2] * g[2],
                  T(-0.5) * (d[0] * g[1] + d[1] * g[0]),
                  T(-0.5) * (d[0] * g[2] + d[2] * g[0]),
                  T(-0.5) * (d[1] * g[2] + d[2] * g[1])};
  EKD_UNROLL
  for (int c = 0; c < 6; ++c) sums[3 + c] += static_cast<double>(v[c]);
  if (results.atomic_virials != nullptr) {
    for (int c = 0; c < 6; ++c)
      add_together(results.atomic_virials + 6 * static_cast<Int64>(pair.neighbor) + c,
                   0.5 * scale * static_cast<double>(v[c]));
  }
  if (results.centroid_virials != nullptr) {
    const int first[9] = {0, 1, 2, 0, 0, 1, 1, 2, 2};
    const int second[9] = {0, 1, 2, 1, 2, 2, 0, 0, 1};
    for (int c = 0; c < 9; ++c)
      add_together(results.centroid_virials + 9 * static_cast<Int64>(pair.neighbor) + c,
                   -scale * static_cast<double>(d[first[c]] * g[second[c]]));
  }
}

// Sums the results of `lanes` threads for each of n atoms, beginning at atom `first`. sums:
// [n_threads, kSums], shared. Reproducible.
EKD_DEVICE void tally_centers(const Block& block, const Results& results, int first, int n,
                              int lanes, double* sums) {
  if (results.pair_gradients != nullptr) return;
  const double scale = results.scale;
  block.each_thread([&](int thread) {
    if (thread >= n) return;
    double* const mine = sums + static_cast<Int64>(thread) * lanes * kSums;
    for (int lane = 1; lane < lanes; ++lane)
      for (int c = 0; c < kSums; ++c) mine[c] += mine[lane * kSums + c];
    add_force(results, first + thread, mine[0], mine[1], mine[2]);
    if (results.atomic_virials != nullptr) {
      for (int c = 0; c < 6; ++c)
        add_together(results.atomic_virials + 6 * static_cast<Int64>(first + thread) + c,
                     0.5 * scale * mine[3 + c]);
    }
  });
  if (results.virial == nullptr) return;
  block.each_thread([&](int thread) {
    for (int c = thread; c < 6; c += block.n_threads) {
      double total = 0.0;
      for (int b = 0; b < n; ++b) total += sums[static_cast<Int64>(b) * lanes * kSums + 3 + c];
      results.virial[6 * static_cast<Int64>(block.index) + c] += scale * total;
    }
  });
}

// Sums the rows of Results::virial with one block, in a fixed order.
struct VirialArguments {
  Int64 n_rows;
  const double* rows;  // [n_rows, 6]
  double* virial;      // [6], accumulated
};

EKD_DEVICE void add_virials(const Block& block, const VirialArguments& a) {
  double* const parts = reinterpret_cast<double*>(block.shared);  // [n_threads]
  const int n_parts = block.n_threads / 6;
  block.each_thread([&](int thread) {
    double sum = 0.0;
    for (Int64 row = thread / 6; row < a.n_rows && thread / 6 < n_parts; row += n_parts)
      sum += a.rows[6 * row + thread % 6];
    parts[thread] = sum;
  });
  block.each_thread([&](int thread) {
    if (thread >= 6) return;
    double sum = 0.0;
    for (int part = 0; part < n_parts; ++part) sum += parts[6 * part + thread];
    a.virial[thread] += sum;
  });
}

// One thread per force component.
struct FixedPointArguments {
  Int64 n;
  const Int64* fixed;
  double* forces;
  double scale;
};

EKD_DEVICE void convert_forces(const Block& block, const FixedPointArguments& a) {
  block.each_thread([&](int thread) {
    const Int64 k = static_cast<Int64>(block.index) * block.n_threads + thread;
    if (k < a.n) a.forces[k] += static_cast<double>(a.fixed[k]) * (a.scale / kFixedPoint);
  });
}

}  // namespace ekd::device
