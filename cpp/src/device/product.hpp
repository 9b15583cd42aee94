// Matrix products by the threads of a block.
#pragma once

#include "arguments.hpp"

namespace ekd::device {

// The part of one thread of the product a b. a has `rows` rows, a multiple of R; a thread processes
// R rows and four columns at once. keep(row, column, values) receives the R x 4 sums.
template <int R, class T, class Keep>
EKD_DEVICE void multiply(int thread, int n_threads, int rows, const T* a, Int64 a_stride,
                         const Matrix<T>& b, const Keep& keep) {
  const int column_tiles = b.columns / 4;
  const int n_tiles = rows / R * column_tiles;
  for (int tile = thread; tile < n_tiles; tile += n_threads) {
    const int row = tile / column_tiles * R;
    const int column = tile % column_tiles * 4;
    Four<T> sums[R];
    EKD_UNROLL
    for (int r = 0; r < R; ++r) sums[r] = {{T(0), T(0), T(0), T(0)}};
    for (int k = 0; k < b.rows; k += 4) {
      Four<T> from[R];
      EKD_UNROLL
      for (int r = 0; r < R; ++r) from[r] = load(a + (row + r) * a_stride + k);
      EKD_UNROLL
      for (int step = 0; step < 4; ++step) {
        const Four<T> weights = load(b.data + static_cast<Int64>(k + step) * b.columns + column);
        EKD_UNROLL
        for (int r = 0; r < R; ++r) {
          EKD_UNROLL
          for (int q = 0; q < 4; ++q) sums[r].of[q] += from[r].of[step] * weights.of[q];
        }
      }
    }
    EKD_UNROLL
    for (int r = 0; r < R; ++r) keep(row + r, column, sums[r]);
  }
}

constexpr int kProductRows = 32;  // per block

// Rows beyond n_rows, up to whole blocks, are also read and written: the caller must allocate them.
template <class T>
EKD_DEVICE void product(const Block& block, const ProductArguments<T>& a) {
  const Int64 row = static_cast<Int64>(block.index) * kProductRows;
  block.each_thread([&](int thread) {
    multiply<4>(thread, block.n_threads, kProductRows, a.from + row * a.from_stride, a.from_stride,
                a.matrix, [&](int r, int column, const Four<T>& values) {
                  T* const to = a.to + (row + r) * a.to_stride + column;
                  Four<T> sums = values;
                  if (a.adds) {
                    const Four<T> before = load(to);
                    EKD_UNROLL
                    for (int q = 0; q < 4; ++q) sums.of[q] += before.of[q];
                  }
                  store(to, sums);
                });
  });
}

}  // namespace ekd::device
