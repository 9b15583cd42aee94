// CPU kernels for single atoms: norms of tensors, and activation functions. No torch here.
#pragma once

#include <cstdint>

namespace ekd {

// Pre-activations from the message tensors of an atom (see
// ekd.models.reference_ops.invariants):
//
//     a[i, f] = base[i, f] + m[i, 0, f] + sum_l scales[l - 1, f] sqrt(|m_l[i, f]|² + cusp)
struct Invariants {
  std::int64_t n_components = 1;  // C: 1, 4 or 9 of tensors up to rank 0, 1, 2
  std::int64_t n_features = 0;    // F
  double cusp = 0;
};

// All arrays are dense and row-major: `mixed` is [n, C, F], `scales` [l_max, F], all others [n, F].
// Atoms begin .. end - 1 are evaluated, so callers can divide the work among threads.

template <class T>
void invariants(const Invariants& form, const T* mixed, const T* scales, const T* base,
                std::int64_t begin, std::int64_t end, T* out);

// The gradient of L = sum(gradient a) with respect to each argument; for `base`, it is `gradient`
// itself. d_scales is accumulated.
template <class T>
void invariants_gradient(const Invariants& form, const T* gradient, const T* mixed, const T* scales,
                         std::int64_t begin, std::int64_t end, T* d_mixed, T* d_scales);

// The gradient of D, the derivative of L along (t_mixed, t_scales), with respect to each argument
// of L; d_gradient does not include the contribution of a change of `base`. d_scales is
// accumulated.
template <class T>
void invariants_second_gradient(const Invariants& form, const T* gradient, const T* mixed,
                                const T* scales, const T* t_mixed, const T* t_scales,
                                std::int64_t begin, std::int64_t end, T* d_gradient, T* d_mixed,
                                T* d_scales);

// softplus(x) = ln(1 + e^x), or x above 20 as in torch, and its slope.
template <class T>
void softplus(std::int64_t n, const T* x, T* value, T* slope);

// Second derivative of softplus from its slope: slope (1 - slope).
// out = slope * t_up + up * slope * (1 - slope) * t_x, the change of `up * slope` along a change
// of both.
template <class T>
void softplus_second(std::int64_t n, const T* slope, const T* up, const T* t_up, const T* t_x,
                     T* out);

}  // namespace ekd
