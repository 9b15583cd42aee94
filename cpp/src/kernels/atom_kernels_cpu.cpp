#include <type_traits>

#include "ekd/atom_kernels.hpp"
#include "scalar_math.hpp"

namespace ekd {
namespace {

using math::Array;
using math::Dual;

// sqrt(|m_l|² + cusp) of one feature. The square of a rank-2 tensor is that of the full 3 x 3
// tensor with zz = -xx - yy.
template <class S, class Tensors>
EKD_INLINE S norm_1(Tensors m, std::int64_t stride, math::Real<S> cusp) {
  const S x = m[0], y = m[stride], z = m[2 * stride];
  return math::root(x * x + y * y + z * z + cusp);
}

template <class S, class Tensors>
EKD_INLINE S norm_2(Tensors m, std::int64_t stride, math::Real<S> cusp) {
  const S xx = m[0], xy = m[stride], xz = m[2 * stride], yy = m[3 * stride], yz = m[4 * stride];
  return math::root(2 * (xx * xx + xy * xy + xz * xz + yy * yy + yz * yz + xx * yy) + cusp);
}

template <class T>
EKD_INLINE void invariants_impl(const Invariants& form, const T* mixed, const T* scales,
                                const T* base, std::int64_t begin, std::int64_t end, T* out) {
  const std::int64_t F = form.n_features, C = form.n_components;
  const T cusp = static_cast<T>(form.cusp);
  for (std::int64_t i = begin; i < end; ++i) {
    const Array<const T> m{mixed + i * C * F};
    T* row = out + i * F;
    EKD_INDEPENDENT
    for (std::int64_t f = 0; f < F; ++f) row[f] = base[i * F + f] + m[f];
    if (C >= 4) {
      EKD_INDEPENDENT
      for (std::int64_t f = 0; f < F; ++f) row[f] += scales[f] * norm_1<T>(m + (F + f), F, cusp);
    }
    if (C >= 9) {
      EKD_INDEPENDENT
      for (std::int64_t f = 0; f < F; ++f)
        row[f] += scales[F + f] * norm_2<T>(m + (4 * F + f), F, cusp);
    }
  }
}

// With plain numbers: the gradient. With dual numbers, whose slopes are the direction of D: the
// slopes of the gradient, which are the second gradient because L is linear in `gradient`.
template <class S, class T, class Tensors>
EKD_INLINE void invariants_gradient_impl(const Invariants& form, const T* gradient, Tensors mixed,
                                         Tensors scales, std::int64_t begin, std::int64_t end,
                                         T* d_gradient, T* d_mixed, T* d_scales) {
  constexpr bool kSecond = !std::is_same_v<S, T>;
  const std::int64_t F = form.n_features, C = form.n_components;
  const T cusp = static_cast<T>(form.cusp);
  for (std::int64_t i = begin; i < end; ++i) {
    const Tensors m = mixed + i * C * F;
    const T* g = gradient + i * F;
    T* out = d_mixed + i * C * F;
    T* change = kSecond ? d_gradient + i * F : nullptr;
    EKD_INDEPENDENT
    for (std::int64_t f = 0; f < F; ++f) {
      out[f] = math::result(S{} + g[f]);
      if constexpr (kSecond) change[f] = math::result(S(m[f]));
    }
    if (C >= 4) {
      EKD_INDEPENDENT
      for (std::int64_t f = 0; f < F; ++f) {
        const S norm = norm_1<S>(m + (F + f), F, cusp);
        const S scale = scales[f];
        const S factor = g[f] * (scale / norm);
        for (std::int64_t c = 1; c < 4; ++c) out[c * F + f] = math::result(factor * m[c * F + f]);
        d_scales[f] += math::result(g[f] * norm);
        if constexpr (kSecond) change[f] += math::result(scale * norm);
      }
    }
    if (C >= 9) {
      EKD_INDEPENDENT
      for (std::int64_t f = 0; f < F; ++f) {
        const S norm = norm_2<S>(m + (4 * F + f), F, cusp);
        const S scale = scales[F + f];
        const S factor = g[f] * (scale / norm);
        const S xx = m[4 * F + f], yy = m[7 * F + f];
        out[4 * F + f] = math::result(factor * (2 * xx + yy));
        out[5 * F + f] = math::result(2 * (factor * m[5 * F + f]));
        out[6 * F + f] = math::result(2 * (factor * m[6 * F + f]));
        out[7 * F + f] = math::result(factor * (2 * yy + xx));
        out[8 * F + f] = math::result(2 * (factor * m[8 * F + f]));
        d_scales[F + f] += math::result(g[f] * norm);
        if constexpr (kSecond) change[f] += math::result(scale * norm);
      }
    }
  }
}

template <class T>
EKD_INLINE void softplus_impl(std::int64_t n, const T* x, T* value, T* slope) {
  EKD_INDEPENDENT
  for (std::int64_t k = 0; k < n; ++k) {
    const T z = x[k];
    const T u = math::exponential(z > 0 ? -z : z);  // at most 1
    const T inverse = 1 / (u + 1);
    const T above = (z > 0 ? z : T(0)) + math::log_one_plus(u);
    const T rise = z > 0 ? inverse : u * inverse;
    value[k] = z > 20 ? z : above;
    slope[k] = z > 20 ? T(1) : rise;
  }
}

template <class T>
EKD_INLINE void softplus_second_impl(std::int64_t n, const T* slope, const T* up, const T* t_up,
                                     const T* t_x, T* out) {
  EKD_INDEPENDENT
  for (std::int64_t k = 0; k < n; ++k)
    out[k] = slope[k] * (t_up[k] + up[k] * (1 - slope[k]) * t_x[k]);
}

template <class T>
EKD_INLINE void first_gradient(const Invariants& form, const T* gradient, const T* mixed,
                               const T* scales, std::int64_t begin, std::int64_t end, T* d_mixed,
                               T* d_scales) {
  invariants_gradient_impl<T, T>(form, gradient, Array<const T>{mixed}, Array<const T>{scales},
                                 begin, end, nullptr, d_mixed, d_scales);
}

template <class T>
EKD_INLINE void second_gradient(const Invariants& form, const T* gradient, const T* mixed,
                                const T* scales, const T* t_mixed, const T* t_scales,
                                std::int64_t begin, std::int64_t end, T* d_gradient, T* d_mixed,
                                T* d_scales) {
  invariants_gradient_impl<Dual<T>, T>(form, gradient, Array<Dual<const T>>{mixed, t_mixed},
                                       Array<Dual<const T>>{scales, t_scales}, begin, end,
                                       d_gradient, d_mixed, d_scales);
}

}  // namespace

#define EKD_KERNELS(T)                                                                           \
  EKD_KERNEL(T, invariants, invariants_impl,                                                     \
             (const Invariants& form, const T* mixed, const T* scales, const T* base,            \
              std::int64_t begin, std::int64_t end, T* out),                                     \
             (form, mixed, scales, base, begin, end, out))                                       \
  EKD_KERNEL(T, invariants_gradient, first_gradient,                                             \
             (const Invariants& form, const T* gradient, const T* mixed, const T* scales,        \
              std::int64_t begin, std::int64_t end, T* d_mixed, T* d_scales),                    \
             (form, gradient, mixed, scales, begin, end, d_mixed, d_scales))                     \
  EKD_KERNEL(T, invariants_second_gradient, second_gradient,                                     \
             (const Invariants& form, const T* gradient, const T* mixed, const T* scales,        \
              const T* t_mixed, const T* t_scales, std::int64_t begin, std::int64_t end,         \
              T* d_gradient, T* d_mixed, T* d_scales),                                           \
             (form, gradient, mixed, scales, t_mixed, t_scales, begin, end, d_gradient, d_mixed, \
              d_scales))                                                                         \
  EKD_KERNEL(T, softplus, softplus_impl, (std::int64_t n, const T* x, T* value, T* slope),       \
             (n, x, value, slope))                                                               \
  EKD_KERNEL(T, softplus_second, softplus_second_impl,                                           \
             (std::int64_t n, const T* slope, const T* up, const T* t_up, const T* t_x, T* out), \
             (n, slope, up, t_up, t_x, out))
EKD_KERNELS(float)
EKD_KERNELS(double)
#undef EKD_KERNELS

}  // namespace ekd
