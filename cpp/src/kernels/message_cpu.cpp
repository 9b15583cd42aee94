#include <algorithm>
#include <vector>

#include "ekd/message_kernels.hpp"
#include "scalar_math.hpp"

namespace ekd {
namespace {

using math::Lanes;
using math::load;
using math::store;

// y += a x
template <class T>
EKD_INLINE void axpy(std::int64_t n, T a, const T* __restrict x, T* __restrict y) {
  for (std::int64_t k = 0; k < n; ++k) y[k] += a * x[k];
}

// Rows of features are processed in tiles of one SIMD vector, for as many weights or pairs as there
// are registers for their sums. If rows are narrow or mostly zero, sums run along the weights,
// feature by feature, and zeros are skipped: one-hot species cost one sum per pair.
constexpr std::int64_t kRows = 4;
constexpr std::int64_t kNarrow = 8;

// ---- message ----------------------------------------------------------------------------------

template <class T>
EKD_INLINE void message_by_feature(const PairRows& rows, std::int64_t i, const T* weights,
                                   const T* features, T* transposed, T* m) {
  const std::int64_t K = rows.n_weights;
  const std::int64_t F = rows.n_features;
  std::fill(transposed, transposed + K * F, T(0));
  for (std::int64_t p = rows.row_offsets[i]; p < rows.row_offsets[i + 1]; ++p) {
    const T* z = features + rows.neighbors[p] * F;
    for (std::int64_t f = 0; f < F; ++f)
      if (z[f] != T(0)) axpy(K, z[f], weights + p * K, transposed + f * K);
  }
  for (std::int64_t k = 0; k < K; ++k)
    for (std::int64_t f = 0; f < F; ++f) m[k * F + f] = transposed[f * K + k];
}

// Rows k .. k + R - 1 of the message of center i.
template <int R, class T>
EKD_INLINE void message_rows(const PairRows& rows, std::int64_t i, std::int64_t k, const T* weights,
                             const T* features, T* m) {
  using V = Lanes<T, 64>;
  constexpr std::int64_t kTile = 64 / sizeof(T);
  const std::int64_t K = rows.n_weights;
  const std::int64_t F = rows.n_features;
  const std::int64_t first = rows.row_offsets[i], last = rows.row_offsets[i + 1];
  std::int64_t f = 0;
  for (; f + kTile <= F; f += kTile) {
    V sums[R] = {};
    for (std::int64_t p = first; p < last; ++p) {
      const V z = load<V>(features + rows.neighbors[p] * F + f);
      const T* w = weights + p * K + k;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sums[r] += w[r] * z;
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) store(m + (k + r) * F + f, sums[r]);
  }
  if (f == F) return;
  for (int r = 0; r < R; ++r) {
    T* row = m + (k + r) * F + f;
    std::fill(row, row + (F - f), T(0));
    for (std::int64_t p = first; p < last; ++p)
      axpy(F - f, weights[p * K + k + r], features + rows.neighbors[p] * F + f, row);
  }
}

template <class T>
EKD_INLINE void message_impl(const PairRows& rows, const T* weights, const T* features,
                             std::int64_t begin, std::int64_t end, T* messages) {
  const std::int64_t K = rows.n_weights;
  const std::int64_t F = rows.n_features;
  std::vector<T> transposed(rows.by_feature ? K * F : 0);
  for (std::int64_t i = begin; i < end; ++i) {
    T* m = messages + i * K * F;
    if (rows.by_feature) {
      message_by_feature(rows, i, weights, features, transposed.data(), m);
      continue;
    }
    std::int64_t k = 0;
    for (; k + kRows <= K; k += kRows) message_rows<kRows>(rows, i, k, weights, features, m);
    for (; k < K; ++k) message_rows<1>(rows, i, k, weights, features, m);
  }
}

// ---- message_weight ---------------------------------------------------------------------------

template <class T>
EKD_INLINE void message_weight_by_feature(const PairRows& rows, std::int64_t i, const T* g,
                                          const T* features, T* transposed, T* out) {
  const std::int64_t K = rows.n_weights;
  const std::int64_t F = rows.n_features;
  for (std::int64_t f = 0; f < F; ++f)
    for (std::int64_t k = 0; k < K; ++k) transposed[f * K + k] = g[k * F + f];
  for (std::int64_t p = rows.row_offsets[i]; p < rows.row_offsets[i + 1]; ++p) {
    const T* z = features + rows.neighbors[p] * F;
    T* row = out + p * K;
    std::fill(row, row + K, T(0));
    for (std::int64_t f = 0; f < F; ++f)
      if (z[f] != T(0)) axpy(K, z[f], transposed + f * K, row);
  }
}

// Products of rows k .. k + R - 1 of the gradient with features of pairs, one pair per lane.
template <int R, class T>
EKD_INLINE void weight_rows(const PairRows& rows, std::int64_t k, const T* g, const T* lanes,
                            std::int64_t n_pairs, T* out) {
  using V = Lanes<T, 32>;
  constexpr std::int64_t kLanes = 32 / sizeof(T);
  const std::int64_t K = rows.n_weights;
  const std::int64_t F = rows.n_features;
  V sums[R] = {};
  for (std::int64_t f = 0; f < F; ++f) {
    const V z = load<V>(lanes + f * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) sums[r] += g[(k + r) * F + f] * z;
  }
  for (std::int64_t lane = 0; lane < n_pairs; ++lane)
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) out[lane * K + k + r] = sums[r][lane];
}

template <class T>
EKD_INLINE void message_weight_impl(const PairRows& rows, const T* gradient, const T* features,
                                    std::int64_t begin, std::int64_t end, T* out) {
  constexpr std::int64_t kLanes = 32 / sizeof(T);
  const std::int64_t K = rows.n_weights;
  const std::int64_t F = rows.n_features;
  std::vector<T> scratch(rows.by_feature ? K * F : F * kLanes);
  for (std::int64_t i = begin; i < end; ++i) {
    const T* g = gradient + i * K * F;
    if (rows.by_feature) {
      if (rows.row_offsets[i] < rows.row_offsets[i + 1])
        message_weight_by_feature(rows, i, g, features, scratch.data(), out);
      continue;
    }
    for (std::int64_t p = rows.row_offsets[i]; p < rows.row_offsets[i + 1]; p += kLanes) {
      const std::int64_t n_pairs = std::min(kLanes, rows.row_offsets[i + 1] - p);
      for (std::int64_t lane = 0; lane < n_pairs; ++lane) {
        const T* row = features + rows.neighbors[p + lane] * F;
        for (std::int64_t f = 0; f < F; ++f) scratch[f * kLanes + lane] = row[f];
      }
      std::int64_t k = 0;
      for (; k + kRows <= K; k += kRows)
        weight_rows<kRows>(rows, k, g, scratch.data(), n_pairs, out + p * K);
      for (; k < K; ++k) weight_rows<1>(rows, k, g, scratch.data(), n_pairs, out + p * K);
    }
  }
}

// ---- message_feature --------------------------------------------------------------------------

template <class T>
EKD_INLINE void message_feature_impl(const PairRows& rows, const T* gradient, const T* weights,
                                     const std::int64_t* pairs, const std::int64_t* centers,
                                     std::int64_t begin, std::int64_t end, T* out) {
  using V = Lanes<T, 64>;
  constexpr std::int64_t kTile = 64 / sizeof(T);
  const std::int64_t K = rows.n_weights;
  const std::int64_t F = rows.n_features;
  for (std::int64_t slot = begin; slot < end; ++slot) {
    const std::int64_t p = pairs == nullptr ? slot : pairs[slot];
    const T* g = gradient + centers[p] * K * F;
    const T* w = weights + p * K;
    T* row = out + rows.neighbors[p] * F;
    std::int64_t f = 0;
    for (; f + kTile <= F; f += kTile) {
      V sums[kRows] = {};
      std::int64_t k = 0;
      for (; k + kRows <= K; k += kRows)
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) sums[r] += w[k + r] * load<V>(g + (k + r) * F + f);
      for (; k < K; ++k) sums[0] += w[k] * load<V>(g + k * F + f);
#pragma GCC unroll 8
      for (int r = 1; r < kRows; ++r) sums[0] += sums[r];
      store(row + f, load<V>(row + f) + sums[0]);
    }
    if (f < F)
      for (std::int64_t k = 0; k < K; ++k) axpy(F - f, w[k], g + k * F + f, row + f);
  }
}

}  // namespace

template <class T>
bool sums_by_feature(std::int64_t n_rows, std::int64_t n_features, const T* features) {
  if (n_features < kNarrow) return true;
  std::int64_t n = 0;
  for (std::int64_t k = 0; k < n_rows * n_features; ++k) n += features[k] != T(0);
  return 4 * n <= n_rows * n_features;
}

template bool sums_by_feature<float>(std::int64_t, std::int64_t, const float*);
template bool sums_by_feature<double>(std::int64_t, std::int64_t, const double*);

#define EKD_KERNELS(T)                                                                        \
  EKD_KERNEL(T, message, message_impl,                                                        \
             (const PairRows& rows, const T* weights, const T* features, std::int64_t begin,  \
              std::int64_t end, T* messages),                                                 \
             (rows, weights, features, begin, end, messages))                                 \
  EKD_KERNEL(T, message_weight, message_weight_impl,                                          \
             (const PairRows& rows, const T* gradient, const T* features, std::int64_t begin, \
              std::int64_t end, T* out),                                                      \
             (rows, gradient, features, begin, end, out))                                     \
  EKD_KERNEL(                                                                                 \
      T, message_feature, message_feature_impl,                                               \
      (const PairRows& rows, const T* gradient, const T* weights, const std::int64_t* pairs,  \
       const std::int64_t* centers, std::int64_t begin, std::int64_t end, T* out),            \
      (rows, gradient, weights, pairs, centers, begin, end, out))
EKD_KERNELS(float)
EKD_KERNELS(double)
#undef EKD_KERNELS

}  // namespace ekd
