// CPU kernels of the message sum and its derivatives. No torch here.
//
// The message sum  m[i,k,f] = sum_p w[p,k] z[j(p),f],  p running over the pairs of centre i,
// is one face of the trilinear form
//
//     L(G, w, z) = sum_p sum_kf  G[i(p),k,f]  w[p,k]  z[j(p),f].
//
// Leaving out G gives the message, leaving out w or z gives its two gradients. The derivative
// of each of the three with respect to any argument is again one of the three, so these kernels
// serve every order of differentiation.
#pragma once

#include <cstdint>

namespace ekd {

struct PairRows {
  std::int64_t n_centers = 0;
  const std::int64_t* row_offsets = nullptr;  // [n_centers + 1]: pairs of centre i, CSR
  const std::int64_t* neighbors = nullptr;    // [n_pairs]: j(p)
  std::int64_t n_weights = 0;                 // K
  std::int64_t n_features = 0;                // F
  bool by_feature = false;  // sum feature by feature and skip zeros, as for one-hot species
};

// Whether that pays: rows too narrow to be vectorised over, or mostly zero.
template <class T>
bool sums_by_feature(std::int64_t n_rows, std::int64_t n_features, const T* features);

// All arrays are dense and row-major. Centres begin .. end - 1 are evaluated, so that a caller can
// share the work between threads.

// messages[i,k,f] = sum_p weights[p,k] features[j(p),f]
template <class T>
void message(const PairRows& rows, const T* weights, const T* features, std::int64_t begin,
             std::int64_t end, T* messages);

// out[p,k] = sum_f gradient[i(p),k,f] features[j(p),f]
template <class T>
void message_weight(const PairRows& rows, const T* gradient, const T* features, std::int64_t begin,
                    std::int64_t end, T* out);

// out[j,f] += sum_{p: j(p) = j} sum_k gradient[i(p),k,f] weights[p,k], for one run of pairs that
// share nothing with other threads: pairs are taken in the given order, or as they are without one.
template <class T>
void message_feature(const PairRows& rows, const T* gradient, const T* weights,
                     const std::int64_t* pairs, const std::int64_t* centers, std::int64_t begin,
                     std::int64_t end, T* out);

}  // namespace ekd
