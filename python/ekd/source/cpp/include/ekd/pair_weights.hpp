// CPU kernels of the weights of pairs and of their derivatives. No torch here.
//
// The weights that the message sum takes are products of a radial sensitivity and a component of
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

// All arrays are dense and row-major; pairs begin .. end - 1 are evaluated, so that a caller can
// share the work between threads. `vectors` is [n_pairs, 3]; `weights`, and whatever is a gradient
// by them, [n_pairs, n_components, n_sensitivities]; `mu` and `sigma` are [n_sensitivities].

template <class T>
void pair_weights(const PairWeights& form, const T* vectors, const T* mu, const T* sigma,
                  std::int64_t begin, std::int64_t end, T* weights);

// The gradient of L = sum(gradient w) by each argument. d_mu and d_sigma are added to.
template <class T>
void pair_weights_gradient(const PairWeights& form, const T* gradient, const T* vectors,
                           const T* mu, const T* sigma, std::int64_t begin, std::int64_t end,
                           T* d_vectors, T* d_mu, T* d_sigma);

// The gradient of D, the derivative of L along (t_vectors, t_mu, t_sigma), by each argument of
// L. d_mu and d_sigma are added to.
template <class T>
void pair_weights_second_gradient(const PairWeights& form, const T* gradient, const T* vectors,
                                  const T* mu, const T* sigma, const T* t_vectors, const T* t_mu,
                                  const T* t_sigma, std::int64_t begin, std::int64_t end,
                                  T* d_gradient, T* d_vectors, T* d_mu, T* d_sigma);

}  // namespace ekd
