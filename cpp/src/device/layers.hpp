// The atom layers: from messages of neighbors to energy and features, and backward.
#pragma once

#include "product.hpp"

namespace ekd::device {

constexpr int kLayerRows = 2;  // atoms per thread in a product

// Data of the atoms of a block, in shared memory.
template <class T>
struct LayerMemory {
  T* z;         // [n, F]: features, then dE/dz
  T* h;         // [n, F]: between the two products of a layer
  T* slopes;    // [1 + n_layers, n, F], of the activation functions
  T* entering;  // [n, F_in], not in the first interaction

  EKD_DEVICE LayerMemory(Carver& carver, const Interaction<T>& w, int n) {
    const Int64 size = static_cast<Int64>(n) * w.width();
    z = carver.take<T>(size);
    h = carver.take<T>(size);
    slopes = carver.take<T>((1 + w.n_layers) * size);
    entering = carver.take<T>(w.of_species ? 0 : static_cast<Int64>(n) * w.in_width);
  }
};

// Square of the full 3 x 3 tensor of rank 2 with zz = -xx - yy.
template <class T>
EKD_DEVICE T squared_norm(const T* a, int stride, int rank) {
  if (rank == 1)
    return a[stride] * a[stride] + a[2 * stride] * a[2 * stride] + a[3 * stride] * a[3 * stride];
  T total = T(0);
  EKD_UNROLL
  for (int c = 4; c < 9; ++c) total += a[c * stride] * a[c * stride];
  return T(2) * (total + a[4 * stride] * a[7 * stride]);
}

// `n` atoms beginning at `first`, of which only the first `rows` exist; A: [n, C, F], shared.
template <class T, int C>
EKD_DEVICE void layers_forward(const Block& block, const Arguments<T>& a, int first, int rows,
                               const T* A, const LayerMemory<T>& memory) {
  const Interaction<T>& w = a.interaction;
  const int F = w.width();
  const int n = a.centers_per_block;
  T* const z = memory.z;
  T* const h = memory.h;
  if (!w.of_species) {
    block.each_thread([&](int thread) {
      for (int k = thread; k < n * w.in_width; k += block.n_threads)
        memory.entering[k] = k < rows * w.in_width
                                 ? a.features_in[static_cast<Int64>(first) * w.in_width + k]
                                 : T(0);
    });
    block.each_thread([&](int thread) {
      multiply<kLayerRows>(thread, block.n_threads, n, memory.entering, w.in_width, w.center,
                           [&](int row, int column, const Four<T>& values) {
                             EKD_UNROLL
                             for (int q = 0; q < 4; ++q)
                               h[row * F + column + q] = values.of[q] + w.center_bias[column + q];
                           });
      if (w.skip.data != nullptr) {
        multiply<kLayerRows>(thread, block.n_threads, n, memory.entering, w.in_width, w.skip,
                             [&](int row, int column, const Four<T>& values) {
                               store(z + row * F + column, values);
                             });
      } else {
        for (int k = thread; k < n * F; k += block.n_threads) z[k] = memory.entering[k];
      }
    });
  }
  block.each_thread([&](int thread) {
    for (int k = thread; k < n * F; k += block.n_threads) {
      const int row = k / F, f = k % F;
      const int species = w.of_species && row < rows ? a.species[first + row] : 0;
      const T* const tensor = A + (static_cast<Int64>(row) * C) * F + f;
      T value = tensor[0];
      if (w.of_species) {
        // Features of atoms that are not in the model are not used.
        const int known = species < 0 ? 0 : species;
        value += w.center_rows[known * F + f];
        z[k] = w.skip_rows[known * F + f];
      } else {
        value += h[k];
      }
      if (C >= 4) value += w.tensor_scales[f] * square_root(squared_norm(tensor, F, 1) + w.cusp);
      if (C >= 9)
        value += w.tensor_scales[F + f] * square_root(squared_norm(tensor, F, 2) + w.cusp);
      h[k] = softplus(value, memory.slopes[k]);
    }
  });
  const auto add_product = [&](int thread, const Matrix<T>& matrix, const T* bias) {
    multiply<kLayerRows>(thread, block.n_threads, n, h, F, matrix,
                         [&](int row, int column, const Four<T>& values) {
                           T* const to = z + row * F + column;
                           EKD_UNROLL
                           for (int q = 0; q < 4; ++q) to[q] += values.of[q] + bias[column + q];
                         });
  };
  block.each_thread([&](int thread) { add_product(thread, w.outer, w.outer_bias); });
  for (int layer = 0; layer < w.n_layers; ++layer) {
    const AtomLayer<T>& weights = w.layers[layer];
    T* const slopes = memory.slopes + static_cast<Int64>(1 + layer) * n * F;
    block.each_thread([&](int thread) {
      multiply<kLayerRows>(thread, block.n_threads, n, z, F, weights.inner,
                           [&](int row, int column, const Four<T>& values) {
                             EKD_UNROLL
                             for (int q = 0; q < 4; ++q) {
                               const int k = row * F + column + q;
                               h[k] = softplus(values.of[q] + weights.inner_bias[column + q],
                                               slopes[k]);
                             }
                           });
    });
    block.each_thread([&](int thread) { add_product(thread, weights.outer, weights.outer_bias); });
  }
}

// Energies of these atoms from z, and output features.
template <class T>
EKD_DEVICE void layers_out(const Block& block, const Arguments<T>& a, int first, int rows,
                           const LayerMemory<T>& memory, bool with_energies) {
  const Interaction<T>& w = a.interaction;
  const int F = w.width();
  block.each_thread([&](int thread) {
    if (a.features_out != nullptr) {
      for (int k = thread; k < rows * F; k += block.n_threads)
        a.features_out[static_cast<Int64>(first) * F + k] = memory.z[k];
    }
    if (!with_energies || a.results.energies == nullptr) return;
    for (int row = thread; row < rows; row += block.n_threads) {
      const int i = first + row;
      if (i >= a.n_owned || a.species[i] < 0) continue;
      T total = w.energy_bias;
      for (int f = 0; f < F; ++f) total += memory.z[row * F + f] * w.energy[f];
      double energy = static_cast<double>(total);
      if (a.reference_energies != nullptr) energy += a.reference_energies[a.species[i]];
      a.results.energies[i] += a.results.scale * energy;
    }
  });
}

// Replaces A with dE/dA; sets gradient_in of these atoms, if it is needed.
template <class T, int C>
EKD_DEVICE void layers_backward(const Block& block, const Arguments<T>& a, int first, int rows,
                                T* A, const LayerMemory<T>& memory) {
  const Interaction<T>& w = a.interaction;
  const int F = w.width();
  const int n = a.centers_per_block;
  T* const g = memory.z;
  T* const h = memory.h;
  block.each_thread([&](int thread) {
    for (int k = thread; k < n * F; k += block.n_threads) {
      const int i = first + k / F;
      const bool counts = k / F < rows && i < a.n_owned && a.species[i] >= 0;
      T value = counts ? w.energy[k % F] : T(0);
      if (a.gradient_out != nullptr && k / F < rows)
        value += a.gradient_out[static_cast<Int64>(first) * F + k];
      g[k] = value;
    }
  });
  // h = (g b) times slopes
  const auto scaled_product = [&](int thread, const Matrix<T>& matrix, const T* slopes) {
    multiply<kLayerRows>(thread, block.n_threads, n, g, F, matrix,
                         [&](int row, int column, const Four<T>& values) {
                           EKD_UNROLL
                           for (int q = 0; q < 4; ++q) {
                             const int k = row * F + column + q;
                             h[k] = values.of[q] * slopes[k];
                           }
                         });
  };
  for (int layer = w.n_layers - 1; layer >= 0; --layer) {
    const AtomLayer<T>& weights = w.layers[layer];
    const T* const slopes = memory.slopes + static_cast<Int64>(1 + layer) * n * F;
    block.each_thread(
        [&](int thread) { scaled_product(thread, weights.outer_transposed, slopes); });
    block.each_thread([&](int thread) {
      multiply<kLayerRows>(thread, block.n_threads, n, h, F, weights.inner_transposed,
                           [&](int row, int column, const Four<T>& values) {
                             T* const to = g + row * F + column;
                             EKD_UNROLL
                             for (int q = 0; q < 4; ++q) to[q] += values.of[q];
                           });
    });
  }
  block.each_thread([&](int thread) { scaled_product(thread, w.outer_transposed, memory.slopes); });
  block.each_thread([&](int thread) {
    for (int k = thread; k < n * F; k += block.n_threads) {
      T* const tensor = A + (static_cast<Int64>(k / F) * C) * F + k % F;
      const int f = k % F;
      const T pre = h[k];
      if (C >= 4) {
        const T factor =
            pre * w.tensor_scales[f] / square_root(squared_norm(tensor, F, 1) + w.cusp);
        EKD_UNROLL
        for (int c = 1; c < 4; ++c) tensor[c * F] *= factor;
      }
      if (C >= 9) {
        const T factor =
            pre * w.tensor_scales[F + f] / square_root(squared_norm(tensor, F, 2) + w.cusp);
        const T xx = tensor[4 * F], yy = tensor[7 * F];
        tensor[4 * F] = (xx + xx + yy) * factor;
        tensor[7 * F] = (yy + yy + xx) * factor;
        tensor[5 * F] *= T(2) * factor;
        tensor[6 * F] *= T(2) * factor;
        tensor[8 * F] *= T(2) * factor;
      }
      tensor[0] = pre;
    }
  });
  if (a.gradient_in == nullptr) return;
  T* const found = memory.entering;
  block.each_thread([&](int thread) {
    multiply<kLayerRows>(thread, block.n_threads, n, h, F, w.center_transposed,
                         [&](int row, int column, const Four<T>& values) {
                           store(found + row * w.in_width + column, values);
                         });
  });
  block.each_thread([&](int thread) {
    if (w.skip_transposed.data != nullptr) {
      multiply<kLayerRows>(thread, block.n_threads, n, g, F, w.skip_transposed,
                           [&](int row, int column, const Four<T>& values) {
                             T* const to = found + row * w.in_width + column;
                             EKD_UNROLL
                             for (int q = 0; q < 4; ++q) to[q] += values.of[q];
                           });
    } else {
      for (int k = thread; k < n * F; k += block.n_threads) found[k] += g[k];
    }
  });
  block.each_thread([&](int thread) {
    for (int k = thread; k < rows * w.in_width; k += block.n_threads)
      a.gradient_in[static_cast<Int64>(first) * w.in_width + k] = found[k];
  });
}

}  // namespace ekd::device
