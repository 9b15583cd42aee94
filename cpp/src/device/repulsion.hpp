// Screened repulsion; see python/ekd/models/zbl.py for the formula and its sources.
#pragma once

#include "tally.hpp"

namespace ekd::device {

// One thread per center.
template <class T>
EKD_DEVICE void repel(const Block& block, const Arguments<T>& a, const RepulsionArguments& z) {
  double* const sums = reinterpret_cast<double*>(block.shared);  // [n_threads, kSums]
  const int begin = block.index * block.n_threads;
  const int rows = a.n_centers - begin < block.n_threads ? a.n_centers - begin : block.n_threads;
  const int first = a.first + begin;
  block.each_thread([&](int thread) {
    double* const mine = sums + thread * kSums;
    for (int c = 0; c < kSums; ++c) mine[c] = 0.0;
    if (thread >= rows) return;
    const int i = first + thread;
    const Int64 start = a.first_pair(i);
    const int n = a.pairs_of(i);
    // Half of the energy of a pair belongs to each atom; only owned atoms contribute.
    const bool counts = i < a.n_owned;
    double energy = 0.0;
    for (int k = 0; k < n; ++k) {
      const Pair<T> pair = a.pairs[start + k];
      const int kind = a.species[i] * z.n_species + a.species[pair.neighbor];
      const double dx = pair.x, dy = pair.y, dz = pair.z;
      const double squared = dx * dx + dy * dy + dz * dz;
      const double range = z.range[kind];
      if (squared >= range * range) continue;
      const double r = square_root(squared);
      const double x = r / range;
      double screening = 0.0, screening_slope = 0.0;
      for (int term = 0; term < z.n_terms; ++term) {
        const double decay = z.decays[term] * z.inverse_length[kind];
        const double value = z.coefficients[term] * exponential(-decay * r);
        screening += value;
        screening_slope -= decay * value;
      }
      const double x5 = x * x * x * x * x;
      const double envelope = 1.0 - x5 * x * (28.0 - x * (48.0 - 21.0 * x));
      const double envelope_slope = -168.0 * x5 * (1.0 - x) * (1.0 - x) / range;
      const double strength = 0.5 * z.strength[kind] / r;
      energy += strength * screening * envelope;
      const double slope = strength * (screening_slope * envelope + screening * envelope_slope -
                                       screening * envelope / r);
      if (!counts) continue;
      const T g[3] = {static_cast<T>(slope * dx / r), static_cast<T>(slope * dy / r),
                      static_cast<T>(slope * dz / r)};
      tally_pair(a.results, start + k, pair, g, mine);
    }
    if (counts && a.results.energies != nullptr) a.results.energies[i] += a.results.scale * energy;
  });
  tally_centers(block, a.results, first, rows, 1, sums);
}

}  // namespace ekd::device
