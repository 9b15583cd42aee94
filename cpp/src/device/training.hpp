// The operations of training, with their first and second derivatives, equivalent to the CPU
// kernels described in cpp/include/ekd/{message_kernels,pair_weights,atom_kernels}.hpp.
//
// A thread computes one number, or the results for one pair or one feature of an atom. Sums over
// all pairs or atoms, for gradients of parameters, are left to the caller: the kernels write their
// terms. Thus, no two threads add to the same number, and results are bitwise reproducible.
#pragma once

#include "dual.hpp"

namespace ekd::device {

// One thread per item.
template <class Act>
EKD_DEVICE void each_item(const Block& block, Int64 n, const Act& act) {
  block.each_thread([&](int thread) {
    const Int64 item = static_cast<Int64>(block.index) * block.n_threads + thread;
    if (item < n) act(item);
  });
}

// ---- sums over neighbors ----------------------------------------------------------------------

// Directed pairs, sorted by center. K weights per pair, F features per atom.
template <class T>
struct MessageArguments {
  Int64 n_centers, n_neighbors, n_pairs;
  int n_weights, n_features;
  const Int64* centers;    // [n_pairs]
  const Int64* neighbors;  // [n_pairs]
  const Int64* offsets;    // [n_centers + 1]: pairs of a center; or [n_neighbors + 1]
  const Int64* order;      // [n_pairs]: pairs sorted by neighbor, for message_feature
  const T* gradient;       // [n_centers, K, F]
  const T* weights;        // [n_pairs, K]
  const T* features;       // [n_neighbors, F]
  T* out;
};

// out [n_centers, K, F]
template <class T>
EKD_DEVICE void message(const Block& block, const MessageArguments<T>& a) {
  const Int64 per_center = static_cast<Int64>(a.n_weights) * a.n_features;
  each_item(block, a.n_centers * per_center, [&](Int64 item) {
    const Int64 i = item / per_center;
    const int k = static_cast<int>(item % per_center / a.n_features);
    const int f = static_cast<int>(item % a.n_features);
    T sum = T(0);
    for (Int64 p = a.offsets[i]; p < a.offsets[i + 1]; ++p)
      sum += a.weights[p * a.n_weights + k] * a.features[a.neighbors[p] * a.n_features + f];
    a.out[item] = sum;
  });
}

// out [n_pairs, K]
template <class T>
EKD_DEVICE void message_weight(const Block& block, const MessageArguments<T>& a) {
  each_item(block, a.n_pairs * a.n_weights, [&](Int64 item) {
    const Int64 p = item / a.n_weights;
    const Int64 k = item % a.n_weights;
    const T* const gradient = a.gradient + (a.centers[p] * a.n_weights + k) * a.n_features;
    const T* const features = a.features + a.neighbors[p] * a.n_features;
    T sum = T(0);
    for (int f = 0; f < a.n_features; ++f) sum += gradient[f] * features[f];
    a.out[item] = sum;
  });
}

// out [n_neighbors, F]
template <class T>
EKD_DEVICE void message_feature(const Block& block, const MessageArguments<T>& a) {
  each_item(block, a.n_neighbors * a.n_features, [&](Int64 item) {
    const Int64 j = item / a.n_features;
    const Int64 f = item % a.n_features;
    T sum = T(0);
    for (Int64 at = a.offsets[j]; at < a.offsets[j + 1]; ++at) {
      const Int64 p = a.order[at];
      const T* const gradient = a.gradient + a.centers[p] * a.n_weights * a.n_features + f;
      const T* const weights = a.weights + p * a.n_weights;
      for (int k = 0; k < a.n_weights; ++k)
        sum += gradient[static_cast<Int64>(k) * a.n_features] * weights[k];
    }
    a.out[item] = sum;
  });
}

// ---- weights of pairs -------------------------------------------------------------------------

template <class T>
struct PairWeightsArguments {
  Int64 n_pairs;
  int n_components, n_sensitivities;
  double cutoff;
  const T* vectors;  // [n_pairs, 3]
  const T* mu;       // [S]
  const T* sigma;
  const T* gradient;   // [n_pairs, C, S]
  const T* t_vectors;  // changes, for the second gradient
  const T* t_mu;
  const T* t_sigma;
  T* weights;     // [n_pairs, C, S]
  T* d_gradient;  // [n_pairs, C, S]
  T* d_vectors;   // [n_pairs, 3]
  T* d_mu;        // [n_pairs, S]: terms of the pairs
  T* d_sigma;
};

template <class S>
struct PairShape {
  S unit[3], inverse, envelope, envelope_slope;
};

// The geometry of a pair; for dual numbers, with its change along a change of the vector.
template <class S>
EKD_DEVICE PairShape<S> shape_of(const Real<S>* vector, const Real<S>* change, Real<S> cutoff) {
  using T = Real<S>;
  const T r = square_root(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]);
  const T inverse = T(1) / r;
  // The envelope cos²(pi r / 2R) is computed as the squared sine of pi (R - r) / 2R, which is zero
  // beyond R, as are its derivatives.
  const T missing = (cutoff - r) / (T(2) * cutoff);
  const T to_angle = T(1.57079632679489661923) / cutoff;
  T sine = T(0), cosine = T(0);
  if (missing > T(0)) sine_cosine_pi(missing, sine, cosine);
  const T envelope = sine * sine;
  const T slope = T(-2) * to_angle * sine * cosine;
  PairShape<S> pair;
  if constexpr (sizeof(S) == sizeof(T)) {
    for (int a = 0; a < 3; ++a) pair.unit[a] = vector[a] * inverse;
    pair.inverse = inverse;
    pair.envelope = envelope;
    pair.envelope_slope = slope;
  } else {
    const T curvature =
        missing > T(0) ? T(2) * to_angle * to_angle * (cosine * cosine - sine * sine) : T(0);
    T longer = T(0);  // change of the distance
    for (int a = 0; a < 3; ++a) longer += change[a] * vector[a] * inverse;
    for (int a = 0; a < 3; ++a) {
      const T unit = vector[a] * inverse;
      pair.unit[a] = S{unit, (change[a] - longer * unit) * inverse};
    }
    pair.inverse = S{inverse, -inverse * inverse * longer};
    pair.envelope = S{envelope, slope * longer};
    pair.envelope_slope = S{slope, curvature * longer};
  }
  return pair;
}

template <int C, class S>
EKD_DEVICE void direction_tensors(const S* u, S* tensors) {
  tensors[0] = constant<S>(1.0);
  if constexpr (C >= 4)
    for (int a = 0; a < 3; ++a) tensors[1 + a] = u[a];
  if constexpr (C >= 9) {
    tensors[4] = u[0] * u[0] - constant<S>(1.0 / 3);
    tensors[5] = u[0] * u[1];
    tensors[6] = u[0] * u[2];
    tensors[7] = u[1] * u[1] - constant<S>(1.0 / 3);
    tensors[8] = u[1] * u[2];
  }
}

// Derivatives with respect to the pair vector; that of the first component is zero.
template <int C, class S>
EKD_DEVICE void direction_slopes(const PairShape<S>& pair, S (*slopes)[3]) {
  const S* const u = pair.unit;
  if constexpr (C >= 4) {
    for (int a = 0; a < 3; ++a)
      for (int b = 0; b < 3; ++b)
        slopes[1 + a][b] = (constant<S>(a == b ? 1.0 : 0.0) - u[a] * u[b]) * pair.inverse;
  }
  if constexpr (C >= 9) {
    const int first[5] = {0, 0, 0, 1, 1}, second[5] = {0, 1, 2, 1, 2};
    for (int c = 0; c < 5; ++c)
      for (int b = 0; b < 3; ++b)
        slopes[4 + c][b] =
            slopes[1 + first[c]][b] * u[second[c]] + u[first[c]] * slopes[1 + second[c]][b];
  }
}

template <class S>
struct Radial {
  S s, by_r, by_mu, by_sigma;
};

template <class S>
EKD_DEVICE Radial<S> radial(const PairShape<S>& pair, S inverse_mu, S sigma) {
  const S off = pair.inverse - inverse_mu;
  const S a = off * sigma;
  const S bell = exponential(constant<S>(-0.5) * (a * a));
  const S s = bell * pair.envelope;
  const S fall = a * sigma;
  const S minus = constant<S>(-1.0);
  return {s, bell * (pair.envelope_slope + pair.envelope * (fall * (pair.inverse * pair.inverse))),
          minus * (fall * s * (inverse_mu * inverse_mu)), minus * (a * off * s)};
}

template <int C, class T>
EKD_DEVICE void weights_of_pair(const PairWeightsArguments<T>& a, Int64 p) {
  const int n = a.n_sensitivities;
  const PairShape<T> pair = shape_of<T>(a.vectors + 3 * p, nullptr, static_cast<T>(a.cutoff));
  T tensors[C];
  direction_tensors<C>(pair.unit, tensors);
  T* const row = a.weights + p * C * n;
  for (int v = 0; v < n; ++v) {
    const T s = radial<T>(pair, T(1) / a.mu[v], a.sigma[v]).s;
    for (int c = 0; c < C; ++c) row[c * n + v] = tensors[c] * s;
  }
}

template <int C, class S>
EKD_DEVICE void gradient_of_pair(const PairWeightsArguments<Real<S>>& a, Int64 p) {
  using T = Real<S>;
  constexpr bool kSecond = sizeof(S) != sizeof(T);
  const int n = a.n_sensitivities;
  const PairShape<S> pair = shape_of<S>(a.vectors + 3 * p, kSecond ? a.t_vectors + 3 * p : nullptr,
                                        static_cast<T>(a.cutoff));
  S tensors[C], slopes[C][3];
  direction_tensors<C>(pair.unit, tensors);
  direction_slopes<C>(pair, slopes);
  const T* const g = a.gradient + p * C * n;
  T sums[3] = {T(0), T(0), T(0)};
  for (int v = 0; v < n; ++v) {
    S inverse_mu, sigma;
    const T inverse = T(1) / a.mu[v];
    if constexpr (kSecond) {
      inverse_mu = S{inverse, -a.t_mu[v] * inverse * inverse};
      sigma = S{a.sigma[v], a.t_sigma[v]};
    } else {
      inverse_mu = inverse;
      sigma = a.sigma[v];
    }
    const Radial<S> r = radial<S>(pair, inverse_mu, sigma);
    S by_s = constant<S>(static_cast<double>(g[v]));
    S turn[3] = {constant<S>(0.0), constant<S>(0.0), constant<S>(0.0)};  // at constant s
    for (int c = 1; c < C; ++c) {
      const S weight = constant<S>(static_cast<double>(g[c * n + v]));
      by_s = by_s + weight * tensors[c];
      for (int d = 0; d < 3; ++d) turn[d] = turn[d] + weight * slopes[c][d];
    }
    const S along = by_s * r.by_r;
    for (int d = 0; d < 3; ++d) sums[d] += result(along * pair.unit[d] + r.s * turn[d]);
    a.d_mu[p * n + v] = result(by_s * r.by_mu);
    a.d_sigma[p * n + v] = result(by_s * r.by_sigma);
    if constexpr (kSecond)
      for (int c = 0; c < C; ++c) a.d_gradient[(p * C + c) * n + v] = result(tensors[c] * r.s);
  }
  for (int d = 0; d < 3; ++d) a.d_vectors[3 * p + d] = sums[d];
}

template <class T>
EKD_DEVICE void pair_weights(const Block& block, const PairWeightsArguments<T>& a) {
  each_item(block, a.n_pairs, [&](Int64 p) {
    if (a.n_components == 1) weights_of_pair<1>(a, p);
    if (a.n_components == 4) weights_of_pair<4>(a, p);
    if (a.n_components == 9) weights_of_pair<9>(a, p);
  });
}

// S: T, or Dual<T> for the second gradient.
template <class S>
EKD_DEVICE void pair_weights_gradient(const Block& block, const PairWeightsArguments<Real<S>>& a) {
  each_item(block, a.n_pairs, [&](Int64 p) {
    if (a.n_components == 1) gradient_of_pair<1, S>(a, p);
    if (a.n_components == 4) gradient_of_pair<4, S>(a, p);
    if (a.n_components == 9) gradient_of_pair<9, S>(a, p);
  });
}

// ---- invariants -------------------------------------------------------------------------------

template <class T>
struct InvariantsArguments {
  Int64 n_atoms;
  int n_components, n_features;
  double cusp;
  const T* mixed;     // [n, C, F]
  const T* scales;    // [l_max, F]
  const T* base;      // [n, F]
  const T* gradient;  // [n, F]
  const T* t_mixed;   // changes, for the second gradient
  const T* t_scales;
  T* out;         // [n, F]
  T* d_gradient;  // [n, F]
  T* d_mixed;     // [n, C, F]
  T* d_scales;    // [n, l_max, F]: terms of the atoms
};

// sqrt(|m_l|² + cusp) of one feature, whose components have the given stride. The square of a
// rank-2 tensor is that of the full 3 x 3 tensor with zz = -xx - yy.
template <class S>
EKD_DEVICE S tensor_norm(const S* m, int rank, double cusp) {
  if (rank == 1) return square_root(m[1] * m[1] + m[2] * m[2] + m[3] * m[3] + constant<S>(cusp));
  const S squares = m[4] * m[4] + m[5] * m[5] + m[6] * m[6] + m[7] * m[7] + m[8] * m[8];
  return square_root(constant<S>(2.0) * (squares + m[4] * m[7]) + constant<S>(cusp));
}

template <class T>
EKD_DEVICE void invariants(const Block& block, const InvariantsArguments<T>& a) {
  const int F = a.n_features, C = a.n_components;
  each_item(block, a.n_atoms * F, [&](Int64 item) {
    const Int64 i = item / F;
    const int f = static_cast<int>(item % F);
    T m[9] = {};
    for (int c = 0; c < C; ++c) m[c] = a.mixed[(i * C + c) * F + f];
    T value = a.base[item] + m[0];
    if (C >= 4) value += a.scales[f] * tensor_norm(m, 1, a.cusp);
    if (C >= 9) value += a.scales[F + f] * tensor_norm(m, 2, a.cusp);
    a.out[item] = value;
  });
}

template <class S>
EKD_DEVICE void invariants_gradient(const Block& block, const InvariantsArguments<Real<S>>& a) {
  using T = Real<S>;
  constexpr bool kSecond = sizeof(S) != sizeof(T);
  const int F = a.n_features, C = a.n_components;
  const int l_max = C >= 9 ? 2 : C >= 4 ? 1 : 0;
  Numbers<S> mixed, scales;
  if constexpr (kSecond) {
    mixed = {a.mixed, a.t_mixed};
    scales = {a.scales, a.t_scales};
  } else {
    mixed = {a.mixed};
    scales = {a.scales};
  }
  each_item(block, a.n_atoms * F, [&](Int64 item) {
    const Int64 i = item / F;
    const int f = static_cast<int>(item % F);
    const S g = constant<S>(static_cast<double>(a.gradient[item]));
    S m[9];
    for (int c = 0; c < C; ++c) m[c] = mixed[(i * C + c) * F + f];
    T* const out = a.d_mixed + i * C * F + f;
    out[0] = result(g);
    T change = T(0);
    if constexpr (kSecond) change = result(m[0]);
    for (int rank = 1; rank <= l_max; ++rank) {
      const S norm = tensor_norm(m, rank, a.cusp);
      const S scale = scales[static_cast<Int64>(rank - 1) * F + f];
      const S factor = g * (scale / norm);
      a.d_scales[(i * l_max + rank - 1) * F + f] = result(g * norm);
      if constexpr (kSecond) change += result(scale * norm);
      if (rank == 1) {
        for (int c = 1; c < 4; ++c) out[c * F] = result(factor * m[c]);
      } else {
        const S two = constant<S>(2.0);
        out[4 * F] = result(factor * (two * m[4] + m[7]));
        out[5 * F] = result(two * (factor * m[5]));
        out[6 * F] = result(two * (factor * m[6]));
        out[7 * F] = result(factor * (two * m[7] + m[4]));
        out[8 * F] = result(two * (factor * m[8]));
      }
    }
    if constexpr (kSecond) a.d_gradient[item] = change;
  });
}

// See EKD_EACH_KERNEL.
// clang-format off
#define EKD_EACH_TRAINING_KERNEL(K)                                                        \
  K(message, MessageArguments<T>, (message(block, a)))                                     \
  K(message_weight, MessageArguments<T>, (message_weight(block, a)))                       \
  K(message_feature, MessageArguments<T>, (message_feature(block, a)))                     \
  K(pair_weights, PairWeightsArguments<T>, (pair_weights(block, a)))                       \
  K(pair_weights_gradient, PairWeightsArguments<T>, (pair_weights_gradient<T>(block, a)))  \
  K(pair_weights_second_gradient, PairWeightsArguments<T>,                                 \
    (pair_weights_gradient<Dual<T>>(block, a)))                                            \
  K(invariants, InvariantsArguments<T>, (invariants(block, a)))                            \
  K(invariants_gradient, InvariantsArguments<T>, (invariants_gradient<T>(block, a)))       \
  K(invariants_second_gradient, InvariantsArguments<T>,                                    \
    (invariants_gradient<Dual<T>>(block, a)))
// clang-format on

}  // namespace ekd::device
