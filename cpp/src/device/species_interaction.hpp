// The first interaction, where neighbors are described by their element. Sensitivities are summed
// by element, and V is applied to the sums.
#pragma once

#include "layers.hpp"
#include "pair_geometry.hpp"
#include "tally.hpp"

namespace ekd::device {

// Stride of message rows, slightly larger than their length, so that rows are not in the same banks
// of shared memory.
template <class T>
EKD_DEVICE int message_stride(const Interaction<T>& w) {
  return w.depth() + 4;
}

// messages: [n C, message_stride], shared.
template <class T, int C>
EKD_DEVICE void sum_messages(const Block& block, const Arguments<T>& a, int first, int rows,
                             T* messages) {
  const Interaction<T>& w = a.interaction;
  const int stride = message_stride(w);
  const int S = w.padded_sensitivities();
  block.each_thread([&](int thread) {
    for (int k = thread; k < a.centers_per_block * C * stride; k += block.n_threads)
      messages[k] = T(0);
  });
  block.each_thread([&](int thread) {
    for (int item = thread; item < rows * S; item += block.n_threads) {
      const int row = item / S, v = item % S;
      if (v >= w.sensitivities()) continue;
      const T inverse_mu = w.inverse_mu[v], sigma = w.sigma[v];
      const Pair<T>* const pairs = a.pairs + a.first_pair(first + row);
      const int n = a.pairs_of(first + row);
      T* const sums = messages + static_cast<Int64>(row) * C * stride + v;
      for (int k = 0; k < n; ++k) {
        const Pair<T> pair = pairs[k];
        const Geometry<T, C> geometry(pair.x, pair.y, pair.z, w.cutoff);
        const T s = geometry.sensitivity(inverse_mu, sigma);
        T* const to = sums + a.species[pair.neighbor] * S;
        EKD_UNROLL
        for (int c = 0; c < C; ++c) to[c * stride] += geometry.tensor[c] * s;
      }
    }
  });
}

// A = messages V
template <class T, int C>
EKD_DEVICE void mix_messages(const Block& block, const Arguments<T>& a, const T* messages, T* A) {
  const Interaction<T>& w = a.interaction;
  block.each_thread([&](int thread) {
    multiply<4>(thread, block.n_threads, a.centers_per_block * C, messages, message_stride(w),
                w.mix, [&](int row, int column, const Four<T>& values) {
                  store(A + static_cast<Int64>(row) * w.width() + column, values);
                });
  });
}

// From dE/dA to forces. sums: [n_threads, kSums], shared; may overlap A.
template <class T, int C>
EKD_DEVICE void differentiate_messages(const Block& block, const Arguments<T>& a, int first,
                                       int rows, const T* A, T* messages, double* sums) {
  const Interaction<T>& w = a.interaction;
  const int stride = message_stride(w);
  const int S = w.padded_sensitivities();
  const int lanes = block.n_threads / a.centers_per_block;
  block.each_thread([&](int thread) {
    multiply<4>(thread, block.n_threads, a.centers_per_block * C, A, w.width(), w.mix_transposed,
                [&](int row, int column, const Four<T>& values) {
                  store(messages + static_cast<Int64>(row) * stride + column, values);
                });
  });
  block.each_thread([&](int thread) {
    double* const mine = sums + thread * kSums;
    EKD_UNROLL
    for (int c = 0; c < kSums; ++c) mine[c] = 0.0;
    const int row = thread / lanes;
    if (row >= rows) return;
    const Int64 first_pair = a.first_pair(first + row);
    const int n = a.pairs_of(first + row);
    for (int k = thread % lanes; k < n; k += lanes) {
      const Pair<T> pair = a.pairs[first_pair + k];
      const Geometry<T, C> geometry(pair.x, pair.y, pair.z, w.cutoff);
      const T* const from =
          messages + static_cast<Int64>(row) * C * stride + a.species[pair.neighbor] * S;
      T radial = T(0);
      T angular[C];
      EKD_UNROLL
      for (int c = 0; c < C; ++c) angular[c] = T(0);
      for (int v = 0; v < w.sensitivities(); ++v) {
        T slope;
        const T s = geometry.sensitivity(w.inverse_mu[v], w.sigma[v], slope);
        T total = from[v];
        EKD_UNROLL
        for (int c = 1; c < C; ++c) {
          const T m = from[c * stride + v];
          total += geometry.tensor[c] * m;
          angular[c] += s * m;
        }
        radial += slope * total;
      }
      T g[3];
      if (C == 1)
        gradient_along(radial, geometry.inverse_r, pair.x, pair.y, pair.z, g);
      else
        geometry.gradient(radial, angular, g);
      tally_pair(a.results, first_pair + k, pair, g, mine);
    }
  });
  tally_centers(block, a.results, first, rows, lanes, sums);
}

// Shared memory of the following kernels.
template <class T, int C>
struct SpeciesMemory {
  T* A;         // [n, C, F]
  T* messages;  // [n C, message_stride]; the memory of the layers is in the same place
  Int64 messages_begin;
  Int64 bytes;

  EKD_DEVICE SpeciesMemory(Carver& carver, const Interaction<T>& w, int n, int n_threads) {
    const Int64 sums_bytes = static_cast<Int64>(n_threads) * kSums * sizeof(double);
    const Int64 A_bytes = static_cast<Int64>(n) * C * w.width() * sizeof(T);
    A = reinterpret_cast<T*>(
        carver.take<unsigned char>(A_bytes > sums_bytes ? A_bytes : sums_bytes));
    messages_begin = carver.used();
    messages = carver.take<T>(static_cast<Int64>(n) * C * message_stride(w));
    const Int64 after_messages = carver.used();
    carver.return_to(messages_begin);
    const LayerMemory<T> layers(carver, w, n);
    bytes = carver.used() > after_messages ? carver.used() : after_messages;
    carver.return_to(messages_begin);
  }
};

// A whole network with one interaction: from pairs to energies and forces.
template <class T, int C>
EKD_DEVICE void evaluate_alone(const Block& block, const Arguments<T>& a) {
  const Interaction<T>& w = a.interaction;
  const int n = a.centers_per_block;
  const Centers mine = centers_of(block, a);
  const int first = mine.first, rows = mine.rows;
  Carver carver(block.shared);
  const SpeciesMemory<T, C> memory(carver, w, n, block.n_threads);
  const LayerMemory<T> layers(carver, w, n);
  sum_messages<T, C>(block, a, first, rows, memory.messages);
  mix_messages<T, C>(block, a, memory.messages, memory.A);
  layers_forward<T, C>(block, a, first, rows, memory.A, layers);
  layers_out(block, a, first, rows, layers, true);
  layers_backward<T, C>(block, a, first, rows, memory.A, layers);
  differentiate_messages<T, C>(block, a, first, rows, memory.A, memory.messages,
                               reinterpret_cast<double*>(memory.A));
}

// The first of several interactions, up to the sums over neighbors.
template <class T, int C>
EKD_DEVICE void mix_species(const Block& block, const Arguments<T>& a) {
  const Interaction<T>& w = a.interaction;
  const int n = a.centers_per_block;
  const Centers mine = centers_of(block, a);
  const int first = mine.first, rows = mine.rows;
  Carver carver(block.shared);
  const SpeciesMemory<T, C> memory(carver, w, n, block.n_threads);
  sum_messages<T, C>(block, a, first, rows, memory.messages);
  mix_messages<T, C>(block, a, memory.messages, memory.A);
  const Int64 size = static_cast<Int64>(C) * w.width();
  block.each_thread([&](int thread) {
    for (Int64 k = thread; k < rows * size; k += block.n_threads)
      a.sums[first * size + k] = memory.A[k];
  });
}

// The backward pass through it.
template <class T, int C>
EKD_DEVICE void differentiate_species(const Block& block, const Arguments<T>& a) {
  const Interaction<T>& w = a.interaction;
  const int n = a.centers_per_block;
  const Centers mine = centers_of(block, a);
  const int first = mine.first, rows = mine.rows;
  Carver carver(block.shared);
  const SpeciesMemory<T, C> memory(carver, w, n, block.n_threads);
  const Int64 size = static_cast<Int64>(C) * w.width();
  block.each_thread([&](int thread) {
    for (Int64 k = thread; k < n * size; k += block.n_threads)
      memory.A[k] = k < rows * size ? a.sums[first * size + k] : T(0);
  });
  differentiate_messages<T, C>(block, a, first, rows, memory.A, memory.messages,
                               reinterpret_cast<double*>(memory.A));
}

// From the sums over neighbors of an interaction to features and energies.
template <class T, int C>
EKD_DEVICE void activate(const Block& block, const Arguments<T>& a, bool back) {
  const Interaction<T>& w = a.interaction;
  const int n = a.centers_per_block;
  const Centers mine = centers_of(block, a);
  const int first = mine.first, rows = mine.rows;
  Carver carver(block.shared);
  const Int64 size = static_cast<Int64>(C) * w.width();
  T* const A = carver.take<T>(n * size);
  const LayerMemory<T> layers(carver, w, n);
  block.each_thread([&](int thread) {
    for (Int64 k = thread; k < n * size; k += block.n_threads)
      A[k] = k < rows * size ? a.sums[first * size + k] : T(0);
  });
  layers_forward<T, C>(block, a, first, rows, A, layers);
  layers_out(block, a, first, rows, layers, a.results.energies != nullptr);
  if (!back) return;
  layers_backward<T, C>(block, a, first, rows, A, layers);
  block.each_thread([&](int thread) {
    for (Int64 k = thread; k < rows * size; k += block.n_threads) a.sums[first * size + k] = A[k];
  });
}

}  // namespace ekd::device
