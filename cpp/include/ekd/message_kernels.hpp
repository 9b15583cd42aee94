// CPU kernels of the message sum and its derivatives. No torch here.
//
// The message sum  m[i,k,f] = sum_p w[p,k] z[j(p),f]  over the pairs p of center i is a derivative
// of the trilinear form
//
//     L(G, w, z) = sum_p sum_kf  G[i(p),k,f]  w[p,k]  z[j(p),f].
//
// The derivative with respect to G is the message; those with respect to w and z are its two
// gradients. Derivatives of each of the three are again one of the three, so these kernels are
// sufficient for all orders of differentiation.
#pragma once

#include <cstdint>

namespace ekd {

struct PairRows {
  std::int64_t n_centers = 0;
  const std::int64_t* row_offsets = nullptr;  // [n_centers + 1]: pairs of center i, CSR
  const std::int64_t* neighbors = nullptr;    // [n_pairs]: j(p)
  std::int64_t n_weights = 0;                 // K
  std::int64_t n_features = 0;                // F
  bool by_feature = false;  // sum feature by feature and skip zeros, for one-hot species
};

// Whether by_feature is faster: rows are too narrow for vectorization, or mostly zero.
template <class T>
bool sums_by_feature(std::int64_t n_rows, std::int64_t n_features, const T* features);

// All arrays are dense and row-major. Centers begin .. end - 1 are evaluated, so callers can divide
// the work among threads.

// messages[i,k,f] = sum_p weights[p,k] features[j(p),f]
template <class T>
void message(const PairRows& rows, const T* weights, const T* features, std::int64_t begin,
             std::int64_t end, T* messages);

// out[p,k] = sum_f gradient[i(p),k,f] features[j(p),f]
template <class T>
void message_weight(const PairRows& rows, const T* gradient, const T* features, std::int64_t begin,
                    std::int64_t end, T* out);

// out[j,f] += sum_{p: j(p) = j} sum_k gradient[i(p),k,f] weights[p,k], for a range of pairs that
// shares no neighbors with other threads. `pairs` gives the order of the pairs; null: in order.
template <class T>
void message_feature(const PairRows& rows, const T* gradient, const T* weights,
                     const std::int64_t* pairs, const std::int64_t* centers, std::int64_t begin,
                     std::int64_t end, T* out);

}  // namespace ekd
