// The head that computes the uncertainty of the forces from the features of an atom.
#pragma once

#include "product.hpp"

namespace ekd::device {

// Features beyond the last center, up to a whole block, are also read: they must be allocated.
template <class T>
EKD_DEVICE void read_uncertainty(const Block& block, const UncertaintyArguments<T>& a) {
  const int n = a.centers_per_block;
  const Centers mine = centers_of(block, a);
  const int first = mine.first, rows = mine.rows;
  const int H = a.second_layer.columns;
  Carver carver(block.shared);
  T* const entering = carver.take<T>(static_cast<Int64>(n) * H);
  T* const hidden = carver.take<T>(static_cast<Int64>(n) * H);
  for (int level = 0; level < a.n_levels; ++level) {
    const Matrix<T>& matrix = a.first_layer[level];
    block.each_thread([&](int thread) {
      multiply<2>(thread, block.n_threads, n,
                  a.features[level] + static_cast<Int64>(first) * matrix.rows, matrix.rows, matrix,
                  [&](int row, int column, const Four<T>& values) {
                    EKD_UNROLL
                    for (int q = 0; q < 4; ++q) {
                      T* const to = entering + row * H + column + q;
                      *to = values.of[q] + (level == 0 ? a.first_bias[column + q] : *to);
                    }
                  });
    });
  }
  block.each_thread([&](int thread) {
    T slope;
    for (int k = thread; k < n * H; k += block.n_threads)
      entering[k] = softplus(entering[k], slope);
  });
  block.each_thread([&](int thread) {
    multiply<2>(thread, block.n_threads, n, entering, H, a.second_layer,
                [&](int row, int column, const Four<T>& values) {
                  T slope;
                  EKD_UNROLL
                  for (int q = 0; q < 4; ++q)
                    hidden[row * H + column + q] =
                        softplus(values.of[q] + a.second_bias[column + q], slope);
                });
  });
  block.each_thread([&](int thread) {
    for (int row = thread; row < rows; row += block.n_threads) {
      T total = a.readout_bias;
      for (int f = 0; f < H; ++f) total += hidden[row * H + f] * a.readout[f];
      double slope;
      a.uncertainty[first + row] += a.scale * softplus(static_cast<double>(total), slope);
    }
  });
}

}  // namespace ekd::device
