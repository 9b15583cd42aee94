// Weights of HIP-NN-TS in the order and padding of HipnnKernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ekd/buffer.hpp"
#include "ekd/hipnn_kernels.hpp"

namespace ekd {

// n rounded up to a multiple of `unit`.
inline std::int64_t padded_to(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

// Memory of packed weights, aligned to cache lines.
template <class T>
class PackedWeights {
 public:
  explicit PackedWeights(std::int64_t panel) : panel_(panel) {}

  const T* keep(const std::vector<T>& values) {
    kept_.emplace_back(values.size());
    std::copy(values.begin(), values.end(), kept_.back().begin());
    return kept_.back().data();
  }

  // at(row, column) -> value; columns are padded to whole panels with zeros.
  template <class At>
  PackedMatrix<T> pack(std::int64_t n_rows, std::int64_t n_columns, At at) {
    const std::int64_t columns = padded_to(n_columns, panel_);
    std::vector<T> data(n_rows * columns);
    for (std::int64_t c = 0; c < columns; ++c)
      for (std::int64_t r = 0; r < n_rows; ++r)
        data[c / panel_ * panel_ * n_rows + r * panel_ + c % panel_] =
            c < n_columns ? static_cast<T>(at(r, c)) : T(0);
    return {keep(data), n_rows, columns};
  }

 private:
  std::int64_t panel_;
  std::vector<Buffer<T>> kept_;
};

}  // namespace ekd
