#include <algorithm>
#include <vector>

#include "ekd/message_kernels.hpp"

// One source, three instruction sets: the loader takes the best that the processor has.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define EKD_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define EKD_SIMD
#endif

namespace ekd {
namespace {

// y += a x
template <class T>
__attribute__((always_inline)) inline void axpy(std::int64_t n, T a, const T* __restrict x,
                                                T* __restrict y) {
  for (std::int64_t k = 0; k < n; ++k) y[k] += a * x[k];
}

// Narrow feature rows (the one-hot species of the first interaction) leave nothing to vectorise
// over and are mostly zero, so the sums then run along the weights, and zeros are skipped.
constexpr std::int64_t kNarrow = 8;

template <class T>
__attribute__((always_inline)) inline void message_impl(const PairRows& rows, const T* weights,
                                                        const T* features, std::int64_t begin,
                                                        std::int64_t end, T* messages) {
  const std::int64_t K = rows.n_weights;
  const std::int64_t F = rows.n_features;
  std::vector<T> transposed(F < kNarrow ? K * F : 0);
  for (std::int64_t i = begin; i < end; ++i) {
    T* m = messages + i * K * F;
    if (F < kNarrow) {
      std::fill(transposed.begin(), transposed.end(), T(0));
      for (std::int64_t p = rows.row_offsets[i]; p < rows.row_offsets[i + 1]; ++p) {
        const T* z = features + rows.neighbors[p] * F;
        for (std::int64_t f = 0; f < F; ++f)
          if (z[f] != T(0)) axpy(K, z[f], weights + p * K, transposed.data() + f * K);
      }
      for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t f = 0; f < F; ++f) m[k * F + f] = transposed[f * K + k];
    } else {
      std::fill(m, m + K * F, T(0));
      for (std::int64_t p = rows.row_offsets[i]; p < rows.row_offsets[i + 1]; ++p) {
        const T* z = features + rows.neighbors[p] * F;
        for (std::int64_t k = 0; k < K; ++k) axpy(F, weights[p * K + k], z, m + k * F);
      }
    }
  }
}

template <class T>
__attribute__((always_inline)) inline void message_weight_impl(const PairRows& rows,
                                                               const T* gradient, const T* features,
                                                               std::int64_t begin, std::int64_t end,
                                                               T* out) {
  const std::int64_t K = rows.n_weights;
  const std::int64_t F = rows.n_features;
  // Transposed once per centre, the gradient is read along k for all its pairs: no reductions.
  std::vector<T> transposed(K * F);
  for (std::int64_t i = begin; i < end; ++i) {
    if (rows.row_offsets[i] == rows.row_offsets[i + 1]) continue;
    const T* g = gradient + i * K * F;
    for (std::int64_t f = 0; f < F; ++f)
      for (std::int64_t k = 0; k < K; ++k) transposed[f * K + k] = g[k * F + f];
    for (std::int64_t p = rows.row_offsets[i]; p < rows.row_offsets[i + 1]; ++p) {
      const T* z = features + rows.neighbors[p] * F;
      T* row = out + p * K;
      std::fill(row, row + K, T(0));
      for (std::int64_t f = 0; f < F; ++f)
        if (F >= kNarrow || z[f] != T(0)) axpy(K, z[f], transposed.data() + f * K, row);
    }
  }
}

template <class T>
__attribute__((always_inline)) inline void message_feature_impl(
    const PairRows& rows, const T* gradient, const T* weights, const std::int64_t* pairs,
    const std::int64_t* centers, std::int64_t begin, std::int64_t end, T* out) {
  const std::int64_t K = rows.n_weights;
  const std::int64_t F = rows.n_features;
  for (std::int64_t slot = begin; slot < end; ++slot) {
    const std::int64_t p = pairs == nullptr ? slot : pairs[slot];
    const T* g = gradient + centers[p] * K * F;
    T* row = out + rows.neighbors[p] * F;
    for (std::int64_t k = 0; k < K; ++k) axpy(F, weights[p * K + k], g + k * F, row);
  }
}

// Run-time dispatch works on plain functions, not on templates: two of each.
#define EKD_DISPATCHED(T, suffix)                                                                \
  EKD_SIMD void message_##suffix(const PairRows& rows, const T* weights, const T* features,      \
                                 std::int64_t begin, std::int64_t end, T* messages) {            \
    message_impl<T>(rows, weights, features, begin, end, messages);                              \
  }                                                                                              \
  EKD_SIMD void message_weight_##suffix(const PairRows& rows, const T* gradient,                 \
                                        const T* features, std::int64_t begin, std::int64_t end, \
                                        T* out) {                                                \
    message_weight_impl<T>(rows, gradient, features, begin, end, out);                           \
  }                                                                                              \
  EKD_SIMD void message_feature_##suffix(                                                        \
      const PairRows& rows, const T* gradient, const T* weights, const std::int64_t* pairs,      \
      const std::int64_t* centers, std::int64_t begin, std::int64_t end, T* out) {               \
    message_feature_impl<T>(rows, gradient, weights, pairs, centers, begin, end, out);           \
  }
EKD_DISPATCHED(float, f32)
EKD_DISPATCHED(double, f64)
#undef EKD_DISPATCHED

}  // namespace

template <>
void message<float>(const PairRows& rows, const float* weights, const float* features,
                    std::int64_t begin, std::int64_t end, float* messages) {
  message_f32(rows, weights, features, begin, end, messages);
}

template <>
void message<double>(const PairRows& rows, const double* weights, const double* features,
                     std::int64_t begin, std::int64_t end, double* messages) {
  message_f64(rows, weights, features, begin, end, messages);
}

template <>
void message_weight<float>(const PairRows& rows, const float* gradient, const float* features,
                           std::int64_t begin, std::int64_t end, float* out) {
  message_weight_f32(rows, gradient, features, begin, end, out);
}

template <>
void message_weight<double>(const PairRows& rows, const double* gradient, const double* features,
                            std::int64_t begin, std::int64_t end, double* out) {
  message_weight_f64(rows, gradient, features, begin, end, out);
}

template <>
void message_feature<float>(const PairRows& rows, const float* gradient, const float* weights,
                            const std::int64_t* pairs, const std::int64_t* centers,
                            std::int64_t begin, std::int64_t end, float* out) {
  message_feature_f32(rows, gradient, weights, pairs, centers, begin, end, out);
}

template <>
void message_feature<double>(const PairRows& rows, const double* gradient, const double* weights,
                             const std::int64_t* pairs, const std::int64_t* centers,
                             std::int64_t begin, std::int64_t end, double* out) {
  message_feature_f64(rows, gradient, weights, pairs, centers, begin, end, out);
}

}  // namespace ekd
