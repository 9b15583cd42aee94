// CPU kernels of pair weights and their derivatives. No torch here.
//
// The weights of the message sum are products of a radial sensitivity and a component of
// the direction tensors (see ekd.models.reference_ops.pair_weights for the formulas),
//
//     w[p, c, v] = s_v(r_p; mu_v, sigma_v) Y_c(r_p / |r_p|).
#pragma once

#include <cstdint>

namespace ekd {

struct PairWeights {
  std::int64_t n_sensitivities = 0;
  std::int64_t n_components = 1;  // 1, 4 or 9: tensors up to rank 0, 1, 2
  double cutoff = 0;              // Å
};

// All arrays are dense and row-major; pairs begin .. end - 1 are evaluated, so callers can divide
// the work among threads. `vectors` is [n_pairs, 3]; `weights` and gradients with respect to them
// are [n_pairs, n_components, n_sensitivities]; `mu` and `sigma` are [n_sensitivities].

template <class T>
void pair_weights(const PairWeights& form, const T* vectors, const T* mu, const T* sigma,
                  std::int64_t begin, std::int64_t end, T* weights);

// The gradient of L = sum(gradient w) with respect to each argument. d_mu, d_sigma are accumulated.
template <class T>
void pair_weights_gradient(const PairWeights& form, const T* gradient, const T* vectors,
                           const T* mu, const T* sigma, std::int64_t begin, std::int64_t end,
                           T* d_vectors, T* d_mu, T* d_sigma);

// The gradient of D, the derivative of L along (t_vectors, t_mu, t_sigma), with respect to each
// argument of L. d_mu and d_sigma are accumulated.
template <class T>
void pair_weights_second_gradient(const PairWeights& form, const T* gradient, const T* vectors,
                                  const T* mu, const T* sigma, const T* t_vectors, const T* t_mu,
                                  const T* t_sigma, std::int64_t begin, std::int64_t end,
                                  T* d_gradient, T* d_vectors, T* d_mu, T* d_sigma);

}  // namespace ekd
