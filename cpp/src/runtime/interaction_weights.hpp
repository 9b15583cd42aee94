// The weights of one interaction of HIP-NN-TS with its atom layers, read and checked, in the order
// in which a network uses them. Networks choose the memory layout.
#pragma once

#include <cstdint>
#include <vector>

#include "ekd/weights.hpp"

namespace ekd {

// Checks the description of the whole network.
// Throws ModelFileError: ekd cannot evaluate the network.
void check_network(const HipnnWeights& weights);

// Matrices are as in torch.nn.Linear, [n_out, n_in] row-major: y = x W^T.
template <class T>
struct InteractionWeights {
  bool of_species = false;    // the first interaction, whose input is one-hot species
  std::int64_t width_in = 0;  // F_in, number of input features
  std::int64_t width = 0;     // F, number of output features
  std::int64_t l_max = 0;
  T cutoff = 0, cusp = 0;

  // Ascending in 1/mu, so those needed for a distance are contiguous.
  std::vector<T> inverse_mu, sigma;
  // [kWindowBins], bins of r / cutoff: sensitivities above the rounding error of a sum.
  std::vector<std::int16_t> window_begin, window_end;

  std::vector<T> outer, outer_bias;    // [F, F], [F]
  std::vector<T> center, center_bias;  // [F, F_in], [F]
  std::vector<T> skip;                 // [F, F_in]; empty: the identity
  std::vector<T> tensor_scales;        // [l_max, F]
  std::vector<T> energy;               // [F]
  T energy_bias = 0;
  struct Layer {
    std::vector<T> inner, inner_bias, outer, outer_bias;
  };
  std::vector<Layer> layers;

  // Reads the weights of interaction k.
  // Throws ModelFileError: a weight is missing, has another shape, or is not finite.
  InteractionWeights(const HipnnWeights& network, std::size_t k);

  std::int64_t n_sensitivities() const { return static_cast<std::int64_t>(inverse_mu.size()); }
  // V for the sensitivity s in the order above.
  T mix(std::int64_t f, std::int64_t s, std::int64_t f_in) const {
    return mix_[(f * n_sensitivities() + order_[s]) * width_in + f_in];
  }

 private:
  void set_sensitivities(const std::vector<T>& mu, const std::vector<T>& sigma_of_file);

  std::vector<T> mix_;  // [F, S, F_in], sensitivities in the order of the file
  std::vector<std::int64_t> order_;
};

}  // namespace ekd
