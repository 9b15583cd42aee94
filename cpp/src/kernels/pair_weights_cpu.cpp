#include <algorithm>
#include <type_traits>
#include <vector>

#include "ekd/pair_weights.hpp"
#include "scalar_math.hpp"

namespace ekd {
namespace {

using math::Array;
using math::Dual;

constexpr std::int64_t kBlock = 64;  // pairs whose geometry is computed at once

// ---- geometry ---------------------------------------------------------------------------------

// Geometry of some pairs. The envelope cos²(pi r / 2R) is computed as the squared sine of
// pi (R - r) / 2R, which is zero beyond R, as are its derivatives.
template <class T>
struct Geometry {
  T unit[3][kBlock];
  T inverse[kBlock];  // 1/r
  T envelope[kBlock], envelope_slope[kBlock], envelope_curvature[kBlock];
};

template <class T>
EKD_INLINE void describe(const T* vectors, std::int64_t n, T cutoff, Geometry<T>& out) {
  const T to_angle = T(1.57079632679489661923) / cutoff;
  EKD_INDEPENDENT
  for (std::int64_t k = 0; k < n; ++k) {
    const T x = vectors[3 * k], y = vectors[3 * k + 1], z = vectors[3 * k + 2];
    const T r = math::root(x * x + y * y + z * z);
    const T inverse = 1 / r;
    out.unit[0][k] = x * inverse;
    out.unit[1][k] = y * inverse;
    out.unit[2][k] = z * inverse;
    out.inverse[k] = inverse;
    const T missing = (cutoff - r) * to_angle;
    const T angle = missing > 0 ? missing : T(0);
    T sine, cosine;
    math::sine_cosine(angle, sine, cosine);
    const T curvature = 2 * to_angle * to_angle * (cosine * cosine - sine * sine);
    out.envelope[k] = sine * sine;
    out.envelope_slope[k] = -2 * to_angle * sine * cosine;
    out.envelope_curvature[k] = missing > 0 ? curvature : T(0);
  }
}

template <class S>
struct Pair {
  S unit[3], inverse, envelope, envelope_slope;
};

template <class T>
EKD_INLINE void take(const Geometry<T>& from, std::int64_t k, const T*, Pair<T>& pair) {
  for (int a = 0; a < 3; ++a) pair.unit[a] = from.unit[a][k];
  pair.inverse = from.inverse[k];
  pair.envelope = from.envelope[k];
  pair.envelope_slope = from.envelope_slope[k];
}

// Change along a change of the pair vector.
template <class T>
EKD_INLINE void take(const Geometry<T>& from, std::int64_t k, const T* change,
                     Pair<Dual<T>>& pair) {
  const T inverse = from.inverse[k];
  T longer = 0;  // change of the distance
  for (int a = 0; a < 3; ++a) longer += change[a] * from.unit[a][k];
  for (int a = 0; a < 3; ++a)
    pair.unit[a] = {from.unit[a][k], (change[a] - longer * from.unit[a][k]) * inverse};
  pair.inverse = {inverse, -inverse * inverse * longer};
  pair.envelope = {from.envelope[k], from.envelope_slope[k] * longer};
  pair.envelope_slope = {from.envelope_slope[k], from.envelope_curvature[k] * longer};
}

// ---- direction tensors ------------------------------------------------------------------------

template <int C, class S>
EKD_INLINE void direction_tensors(const S* unit, S* tensors) {
  using T = math::Real<S>;
  const S x = unit[0], y = unit[1], z = unit[2];
  tensors[0] = S{} + 1;
  if constexpr (C >= 4) {
    tensors[1] = x;
    tensors[2] = y;
    tensors[3] = z;
  }
  if constexpr (C >= 9) {
    tensors[4] = x * x + T(-1.0 / 3);
    tensors[5] = x * y;
    tensors[6] = x * z;
    tensors[7] = y * y + T(-1.0 / 3);
    tensors[8] = y * z;
  }
}

// Derivatives with respect to the pair vector; that of the first component is zero.
template <int C, class S>
EKD_INLINE void direction_slopes(const Pair<S>& pair, S (*slopes)[3]) {
  const S* const u = pair.unit;
  if constexpr (C >= 4)
    for (int a = 0; a < 3; ++a)
      for (int b = 0; b < 3; ++b)
        slopes[1 + a][b] = (S{} + math::Real<S>(a == b) - u[a] * u[b]) * pair.inverse;
  if constexpr (C >= 9) {
    constexpr int kFirst[5] = {0, 0, 0, 1, 1}, kSecond[5] = {0, 1, 2, 1, 2};
    for (int c = 0; c < 5; ++c)
      for (int b = 0; b < 3; ++b)
        slopes[4 + c][b] =
            slopes[1 + kFirst[c]][b] * u[kSecond[c]] + u[kFirst[c]] * slopes[1 + kSecond[c]][b];
  }
}

// ---- radial sensitivities ---------------------------------------------------------------------

template <class S>
struct Radial {
  S s, by_r, by_mu, by_sigma;
};

template <class S>
EKD_INLINE Radial<S> radial(const Pair<S>& pair, S inverse_mu, S sigma) {
  using T = math::Real<S>;
  const S off = pair.inverse - inverse_mu;
  const S a = off * sigma;
  const S bell = math::exponential(T(-0.5) * (a * a));
  const S s = bell * pair.envelope;
  const S fall = a * sigma;
  return {s, bell * (pair.envelope_slope + pair.envelope * (fall * (pair.inverse * pair.inverse))),
          T(-1) * (fall * s * (inverse_mu * inverse_mu)), T(-1) * (a * off * s)};
}

// ---- the three kernels ------------------------------------------------------------------------

template <class T>
std::vector<T> inverse_of(const T* mu, std::int64_t n) {
  std::vector<T> inverse(n);
  for (std::int64_t v = 0; v < n; ++v) inverse[v] = 1 / mu[v];
  return inverse;
}

template <int C, class T>
EKD_INLINE void weights_impl(const PairWeights& form, const T* vectors, const T* mu, const T* sigma,
                             std::int64_t begin, std::int64_t end, T* weights) {
  const std::int64_t n = form.n_sensitivities;
  const std::vector<T> inverse_mu = inverse_of(mu, n);
  Geometry<T> geometry;
  for (std::int64_t first = begin; first < end; first += kBlock) {
    const std::int64_t count = std::min(kBlock, end - first);
    describe(vectors + 3 * first, count, static_cast<T>(form.cutoff), geometry);
    for (std::int64_t k = 0; k < count; ++k) {
      Pair<T> pair;
      take(geometry, k, vectors, pair);
      T tensors[C];
      direction_tensors<C>(pair.unit, tensors);
      T* row = weights + (first + k) * C * n;
      EKD_INDEPENDENT
      for (std::int64_t v = 0; v < n; ++v) {
        const T s = radial(pair, inverse_mu[v], sigma[v]).s;
#pragma GCC unroll 9
        for (int c = 0; c < C; ++c) row[c * n + v] = tensors[c] * s;
      }
    }
  }
}

// With plain numbers: the gradient. With dual numbers, whose slopes are the direction of D: the
// slopes of the gradient, which are the second gradient because L is linear in `gradient`.
template <int C, class S, class T, class Parameters>
EKD_INLINE void gradient_impl(const PairWeights& form, const T* gradient, const T* vectors,
                              const T* t_vectors, Parameters inverse_mu, Parameters sigma,
                              std::int64_t begin, std::int64_t end, T* d_gradient, T* d_vectors,
                              T* d_mu, T* d_sigma) {
  constexpr bool kSecond = !std::is_same_v<S, T>;
  const std::int64_t n = form.n_sensitivities;
  std::vector<T> summands(3 * n);
  T* const terms = summands.data();
  Geometry<T> geometry;
  for (std::int64_t first = begin; first < end; first += kBlock) {
    const std::int64_t count = std::min(kBlock, end - first);
    describe(vectors + 3 * first, count, static_cast<T>(form.cutoff), geometry);
    for (std::int64_t k = 0; k < count; ++k) {
      const std::int64_t p = first + k;
      Pair<S> pair;
      take(geometry, k, t_vectors + 3 * p, pair);
      S tensors[C], slopes[C][3];
      direction_tensors<C>(pair.unit, tensors);
      direction_slopes<C>(pair, slopes);
      const T* g = gradient + p * C * n;
      T* change = kSecond ? d_gradient + p * C * n : nullptr;
      EKD_INDEPENDENT
      for (std::int64_t v = 0; v < n; ++v) {
        const Radial<S> r = radial(pair, S(inverse_mu[v]), S(sigma[v]));
        S by_s = S{} + g[v];
        S turn_x{}, turn_y{}, turn_z{};  // derivative by the vector at constant s
#pragma GCC unroll 9
        for (int c = 1; c < C; ++c) {
          const T weight = g[c * n + v];
          by_s = by_s + weight * tensors[c];
          turn_x = turn_x + weight * slopes[c][0];
          turn_y = turn_y + weight * slopes[c][1];
          turn_z = turn_z + weight * slopes[c][2];
        }
        const S along = by_s * r.by_r;
        terms[v] = math::result(along * pair.unit[0] + r.s * turn_x);
        terms[n + v] = math::result(along * pair.unit[1] + r.s * turn_y);
        terms[2 * n + v] = math::result(along * pair.unit[2] + r.s * turn_z);
        d_mu[v] += math::result(by_s * r.by_mu);
        d_sigma[v] += math::result(by_s * r.by_sigma);
        if constexpr (kSecond)
#pragma GCC unroll 9
          for (int c = 0; c < C; ++c) change[c * n + v] = math::result(tensors[c] * r.s);
      }
      for (int a = 0; a < 3; ++a) d_vectors[3 * p + a] = math::sum(n, terms + a * n);
    }
  }
}

template <int C, class T>
EKD_INLINE void first_gradient(const PairWeights& form, const T* gradient, const T* vectors,
                               const T* mu, const T* sigma, std::int64_t begin, std::int64_t end,
                               T* d_vectors, T* d_mu, T* d_sigma) {
  const std::vector<T> inverse_mu = inverse_of(mu, form.n_sensitivities);
  gradient_impl<C, T, T>(form, gradient, vectors, vectors, Array<const T>{inverse_mu.data()},
                         Array<const T>{sigma}, begin, end, nullptr, d_vectors, d_mu, d_sigma);
}

template <int C, class T>
EKD_INLINE void second_gradient(const PairWeights& form, const T* gradient, const T* vectors,
                                const T* mu, const T* sigma, const T* t_vectors, const T* t_mu,
                                const T* t_sigma, std::int64_t begin, std::int64_t end,
                                T* d_gradient, T* d_vectors, T* d_mu, T* d_sigma) {
  const std::vector<T> inverse_mu = inverse_of(mu, form.n_sensitivities);
  std::vector<T> change(form.n_sensitivities);
  for (std::size_t v = 0; v < change.size(); ++v)
    change[v] = -t_mu[v] * inverse_mu[v] * inverse_mu[v];
  gradient_impl<C, Dual<T>, T>(
      form, gradient, vectors, t_vectors, Array<Dual<const T>>{inverse_mu.data(), change.data()},
      Array<Dual<const T>>{sigma, t_sigma}, begin, end, d_gradient, d_vectors, d_mu, d_sigma);
}

// ---- by the number of components --------------------------------------------------------------

#define EKD_BY_COMPONENTS(call, ...)               \
  (form.n_components == 1   ? call<1>(__VA_ARGS__) \
   : form.n_components == 4 ? call<4>(__VA_ARGS__) \
                            : call<9>(__VA_ARGS__))

template <class T>
EKD_INLINE void weights_of(const PairWeights& form, const T* vectors, const T* mu, const T* sigma,
                           std::int64_t begin, std::int64_t end, T* weights) {
  EKD_BY_COMPONENTS(weights_impl, form, vectors, mu, sigma, begin, end, weights);
}

template <class T>
EKD_INLINE void gradient_of(const PairWeights& form, const T* gradient, const T* vectors,
                            const T* mu, const T* sigma, std::int64_t begin, std::int64_t end,
                            T* d_vectors, T* d_mu, T* d_sigma) {
  EKD_BY_COMPONENTS(first_gradient, form, gradient, vectors, mu, sigma, begin, end, d_vectors, d_mu,
                    d_sigma);
}

template <class T>
EKD_INLINE void second_gradient_of(const PairWeights& form, const T* gradient, const T* vectors,
                                   const T* mu, const T* sigma, const T* t_vectors, const T* t_mu,
                                   const T* t_sigma, std::int64_t begin, std::int64_t end,
                                   T* d_gradient, T* d_vectors, T* d_mu, T* d_sigma) {
  EKD_BY_COMPONENTS(second_gradient, form, gradient, vectors, mu, sigma, t_vectors, t_mu, t_sigma,
                    begin, end, d_gradient, d_vectors, d_mu, d_sigma);
}
#undef EKD_BY_COMPONENTS

}  // namespace

#define EKD_KERNELS(T)                                                                            \
  EKD_KERNEL(T, pair_weights, weights_of,                                                         \
             (const PairWeights& form, const T* vectors, const T* mu, const T* sigma,             \
              std::int64_t begin, std::int64_t end, T* weights),                                  \
             (form, vectors, mu, sigma, begin, end, weights))                                     \
  EKD_KERNEL(                                                                                     \
      T, pair_weights_gradient, gradient_of,                                                      \
      (const PairWeights& form, const T* gradient, const T* vectors, const T* mu, const T* sigma, \
       std::int64_t begin, std::int64_t end, T* d_vectors, T* d_mu, T* d_sigma),                  \
      (form, gradient, vectors, mu, sigma, begin, end, d_vectors, d_mu, d_sigma))                 \
  EKD_KERNEL(                                                                                     \
      T, pair_weights_second_gradient, second_gradient_of,                                        \
      (const PairWeights& form, const T* gradient, const T* vectors, const T* mu, const T* sigma, \
       const T* t_vectors, const T* t_mu, const T* t_sigma, std::int64_t begin, std::int64_t end, \
       T* d_gradient, T* d_vectors, T* d_mu, T* d_sigma),                                         \
      (form, gradient, vectors, mu, sigma, t_vectors, t_mu, t_sigma, begin, end, d_gradient,      \
       d_vectors, d_mu, d_sigma))
EKD_KERNELS(float)
EKD_KERNELS(double)
#undef EKD_KERNELS

}  // namespace ekd
