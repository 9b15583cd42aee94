// Later interactions, where neighbors have features. First, q = V z, once for each atom, for a
// slice of the output features; then, for each pair, t = sum_v s_v(r) q_jv, and t times the tensor
// of the pair is added to the sums of the center.
//
// The backward pass reads the pairs from the side of the neighbor, whose owner has the same pair in
// reverse. Thus, every atom computes its complete dE/dq, and needs only dE/dA of others, which can
// be exchanged.
#pragma once

#include "pair_geometry.hpp"
#include "tally.hpp"

namespace ekd::device {

constexpr int kPairsTogether = 8;  // pairs of an atom between two barriers

// Data of some pairs of each atom of a block.
template <class T, int C>
struct PairMemory {
  T* tensors;      // [n, kPairsTogether, C]
  T* s;            // [n, kPairsTogether, S]
  T* slopes;       // the same, if requested
  int* windows;    // [n, kPairsTogether, 2]
  int* neighbors;  // [n, kPairsTogether]
  T* vectors;      // [n, kPairsTogether, 4]: x, y, z, 1/r; if slopes are requested

  EKD_DEVICE PairMemory(Carver& carver, const Interaction<T>& w, int n, bool with_slopes) {
    const Int64 size = static_cast<Int64>(n) * kPairsTogether;
    tensors = carver.take<T>(size * C);
    s = carver.take<T>(size * w.padded_sensitivities());
    slopes = carver.take<T>(with_slopes ? size * w.padded_sensitivities() : 0);
    vectors = carver.take<T>(with_slopes ? size * 4 : 0);
    windows = carver.take<int>(size * 2);
    neighbors = carver.take<int>(size);
  }
};

// Pairs from `done` of each atom; with the sign -1, they are read from the other side.
template <class T, int C, bool kSlopes>
EKD_DEVICE void describe_pairs(int thread, int n_threads, const Arguments<T>& a, int first,
                               int rows, int done, T sign, const PairMemory<T, C>& memory) {
  const Interaction<T>& w = a.interaction;
  const int S = w.padded_sensitivities();
  for (int item = thread; item < rows * kPairsTogether; item += n_threads) {
    const int i = first + item / kPairsTogether;
    const int k = done + item % kPairsTogether;
    if (k >= a.pairs_of(i)) continue;
    const Pair<T> pair = a.pairs[a.first_pair(i) + k];
    const T x = sign * pair.x, y = sign * pair.y, z = sign * pair.z;
    const Geometry<T, C> geometry(x, y, z, w.cutoff);
    EKD_UNROLL
    for (int c = 0; c < C; ++c) memory.tensors[item * C + c] = geometry.tensor[c];
    int bin = static_cast<int>(geometry.r * (T(kWindowBins) / w.cutoff));
    if (bin > kWindowBins - 1) bin = kWindowBins - 1;
    const int begin = w.window_begin[bin], end = w.window_end[bin];
    memory.windows[2 * item] = begin;
    memory.windows[2 * item + 1] = end;
    memory.neighbors[item] = pair.neighbor;
    for (int v = begin; v < end; ++v) {
      if (kSlopes)
        memory.s[item * S + v] =
            geometry.sensitivity(w.inverse_mu[v], w.sigma[v], memory.slopes[item * S + v]);
      else
        memory.s[item * S + v] = geometry.sensitivity(w.inverse_mu[v], w.sigma[v]);
    }
    if (kSlopes) {
      memory.vectors[4 * item] = x;
      memory.vectors[4 * item + 1] = y;
      memory.vectors[4 * item + 2] = z;
      memory.vectors[4 * item + 3] = geometry.inverse_r;
    }
  }
}

template <class T>
EKD_DEVICE int most_pairs(const Arguments<T>& a, int first, int rows) {
  int most = 0;
  for (int row = 0; row < rows; ++row) {
    const int n = a.pairs_of(first + row);
    if (n > most) most = n;
  }
  return most;
}

// The slice of A of each center. A thread handles four features of an atom.
template <class T, int C>
EKD_DEVICE void mix_features(const Block& block, const Arguments<T>& a) {
  const Interaction<T>& w = a.interaction;
  const Centers mine = centers_of(block, a);
  const int first = mine.first, rows = mine.rows;
  const int lanes = a.slice_width / 4;
  const int S = w.padded_sensitivities();
  Carver carver(block.shared);
  const PairMemory<T, C> memory(carver, w, a.centers_per_block, false);
#ifdef EKD_ON_DEVICE
  PerThread<T, 4 * C> sums(nullptr);
#else
  PerThread<T, 4 * C> sums(carver.take<T>(static_cast<Int64>(block.n_threads) * 4 * C));
#endif
  const int most = most_pairs(a, first, rows);
  block.each_thread([&](int thread) {
    EKD_UNROLL
    for (int k = 0; k < 4 * C; ++k) sums.of(thread)[k] = T(0);
  });
  for (int done = 0; done < most; done += kPairsTogether) {
    block.each_thread([&](int thread) {
      describe_pairs<T, C, false>(thread, block.n_threads, a, first, rows, done, T(1), memory);
    });
    block.each_thread([&](int thread) {
      const int row = thread / lanes;
      if (row >= rows) return;
      const int f = thread % lanes * 4;
      T* const mine = sums.of(thread);
      int n = a.pairs_of(first + row) - done;
      if (n > kPairsTogether) n = kPairsTogether;
      for (int k = 0; k < n; ++k) {
        const int item = row * kPairsTogether + k;
        const T* const q =
            a.q + static_cast<Int64>(memory.neighbors[item]) * w.sensitivities() * a.slice_width +
            f;
        T t[4] = {T(0), T(0), T(0), T(0)};
        for (int v = memory.windows[2 * item]; v < memory.windows[2 * item + 1]; ++v) {
          const Four<T> values = load(q + static_cast<Int64>(v) * a.slice_width);
          const T s = memory.s[item * S + v];
          EKD_UNROLL
          for (int e = 0; e < 4; ++e) t[e] += s * values.of[e];
        }
        EKD_UNROLL
        for (int c = 0; c < C; ++c) {
          const T tensor = memory.tensors[item * C + c];
          EKD_UNROLL
          for (int e = 0; e < 4; ++e) mine[4 * c + e] += tensor * t[e];
        }
      }
    });
  }
  block.each_thread([&](int thread) {
    const int row = thread / lanes;
    if (row >= rows) return;
    const int f = a.slice_first + thread % lanes * 4;
    const T* const mine = sums.of(thread);
    EKD_UNROLL
    for (int c = 0; c < C; ++c) {
      const Four<T> values = {{mine[4 * c], mine[4 * c + 1], mine[4 * c + 2], mine[4 * c + 3]}};
      store(a.sums + (static_cast<Int64>(first + row) * C + c) * w.width() + f, values);
    }
  });
}

// From dE/dA to forces, for the slice; replaces q with dE/dq. Atoms of the launch are the neighbors
// here.
template <class T, int C>
EKD_DEVICE void differentiate_features(const Block& block, const Arguments<T>& a) {
  const Interaction<T>& w = a.interaction;
  const int n = a.centers_per_block;
  const Centers mine = centers_of(block, a);
  const int first = mine.first, rows = mine.rows;
  const int lanes = a.slice_width / 4;
  const int S = w.padded_sensitivities();
  Carver carver(block.shared);
  const PairMemory<T, C> memory(carver, w, n, true);
  // For each atom: dE/dq, then the contributions of threads to dE/dr and dE/d(tensor).
  T* const q_gradients = carver.take<T>(static_cast<Int64>(n) * w.sensitivities() * a.slice_width);
  T* const parts = carver.take<T>(static_cast<Int64>(n) * kPairsTogether * C * (lanes + 1));
  double* const sums = carver.take<double>(static_cast<Int64>(n) * kPairsTogether * kSums);
  T* const totals = carver.take<T>(static_cast<Int64>(n) * kPairsTogether * C);
  const int most = most_pairs(a, first, rows);
  block.each_thread([&](int thread) {
    for (int k = thread; k < n * w.sensitivities() * a.slice_width; k += block.n_threads)
      q_gradients[k] = T(0);
    for (int k = thread; k < n * kPairsTogether * kSums; k += block.n_threads) sums[k] = 0.0;
  });
  for (int done = 0; done < most; done += kPairsTogether) {
    block.each_thread([&](int thread) {
      describe_pairs<T, C, true>(thread, block.n_threads, a, first, rows, done, T(-1), memory);
    });
    block.each_thread([&](int thread) {
      const int row = thread / lanes;
      if (row >= rows) return;
      const int lane = thread % lanes;
      const Int64 own = static_cast<Int64>(first + row) * w.sensitivities() * a.slice_width;
      const T* const q = a.q + own + 4 * lane;
      T* const q_gradient =
          q_gradients + static_cast<Int64>(row) * w.sensitivities() * a.slice_width + 4 * lane;
      int count = a.pairs_of(first + row) - done;
      if (count > kPairsTogether) count = kPairsTogether;
      for (int k = 0; k < count; ++k) {
        const int item = row * kPairsTogether + k;
        const int window_begin = memory.windows[2 * item];
        const int window_end = memory.windows[2 * item + 1];
        T t[4] = {T(0), T(0), T(0), T(0)}, t_slope[4] = {T(0), T(0), T(0), T(0)};
        for (int v = window_begin; v < window_end; ++v) {
          const Four<T> values = load(q + static_cast<Int64>(v) * a.slice_width);
          const T s = memory.s[item * S + v], slope = memory.slopes[item * S + v];
          EKD_UNROLL
          for (int e = 0; e < 4; ++e) {
            t[e] += s * values.of[e];
            t_slope[e] += slope * values.of[e];
          }
        }
        const T* const gradient = a.sums +
                                  static_cast<Int64>(memory.neighbors[item]) * C * w.width() +
                                  a.slice_first + 4 * lane;
        Four<T> u = load(gradient);
        T* const part = parts + static_cast<Int64>(item) * C * (lanes + 1) + lane;
        EKD_UNROLL
        for (int c = 1; c < C; ++c) {
          const Four<T> values = load(gradient + static_cast<Int64>(c) * w.width());
          const T tensor = memory.tensors[item * C + c];
          T angular = T(0);
          EKD_UNROLL
          for (int e = 0; e < 4; ++e) {
            u.of[e] += tensor * values.of[e];
            angular += t[e] * values.of[e];
          }
          part[c * (lanes + 1)] = angular;
        }
        T radial = T(0);
        EKD_UNROLL
        for (int e = 0; e < 4; ++e) radial += t_slope[e] * u.of[e];
        part[0] = radial;
        for (int v = window_begin; v < window_end; ++v) {
          T* const to = q_gradient + static_cast<Int64>(v) * a.slice_width;
          const T s = memory.s[item * S + v];
          Four<T> values = load(to);
          EKD_UNROLL
          for (int e = 0; e < 4; ++e) values.of[e] += s * u.of[e];
          store(to, values);
        }
      }
    });
    block.each_thread([&](int thread) {
      for (int k = thread; k < rows * kPairsTogether * C; k += block.n_threads) {
        const int item = k / C;
        const int row = item / kPairsTogether;
        if (done + item % kPairsTogether >= a.pairs_of(first + row)) continue;
        T total = T(0);
        for (int lane = 0; lane < lanes; ++lane)
          total += parts[static_cast<Int64>(k) * (lanes + 1) + lane];
        totals[k] = total;
      }
    });
    block.each_thread([&](int thread) {
      for (int item = thread; item < rows * kPairsTogether; item += block.n_threads) {
        const int row = item / kPairsTogether;
        const int k = done + item % kPairsTogether;
        if (k >= a.pairs_of(first + row)) continue;
        const T* const vector = memory.vectors + 4 * item;
        const T* const angular = totals + item * C;
        T g[3];
        if (C == 1) {
          gradient_along(angular[0], vector[3], vector[0], vector[1], vector[2], g);
        } else {
          const Geometry<T, C> geometry(vector[0], vector[1], vector[2], w.cutoff);
          geometry.gradient(angular[0], angular, g);
        }
        // Sign of the vector in the list.
        const T back[3] = {-g[0], -g[1], -g[2]};
        const Int64 slot = a.first_pair(first + row) + k;
        tally_pair(a.results, slot, a.pairs[slot], back, sums + item * kSums);
      }
    });
  }
  tally_centers(block, a.results, first, rows, kPairsTogether, sums);
  block.each_thread([&](int thread) {
    const Int64 size = static_cast<Int64>(w.sensitivities()) * a.slice_width;
    for (Int64 k = thread; k < rows * size; k += block.n_threads)
      a.q[first * size + k] = q_gradients[k];
  });
}

}  // namespace ekd::device
