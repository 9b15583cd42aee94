#include "interaction_weights.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "ekd/hipnn_kernels.hpp"

namespace ekd {
namespace {

// Files with larger values are damaged.
constexpr std::int64_t kMostSensitivities = 4096;
constexpr std::int64_t kMostLayers = 1024;
constexpr std::int64_t kMostFeatures = 65536;

}  // namespace

void check_network(const HipnnWeights& weights) {
  const auto require = [&](bool holds, const char* what) {
    if (!holds) weights.arrays.fail(what);
  };
  require(weights.l_max >= 0 && weights.l_max <= 2, "l_max is not 0, 1 or 2");
  require(weights.cusp.size() + 1 == weights.feature_widths.size(),
          "there is not one cusp for each interaction");
  for (const double cusp : weights.cusp)
    require(std::isfinite(cusp) && cusp >= 0.0, "a cusp is not a number of 0 or more");
  require(weights.n_atom_layers >= 0 && weights.n_atom_layers <= kMostLayers,
          "the number of atom layers is negative, or too large");
  for (const std::int64_t width : weights.feature_widths)
    require(width >= 1 && width <= kMostFeatures, "a feature width is below 1, or too large");
}

template <class T>
InteractionWeights<T>::InteractionWeights(const HipnnWeights& network, std::size_t k) {
  using Shape = std::vector<std::int64_t>;
  const Weights& arrays = network.arrays;
  const std::string prefix = "blocks." + std::to_string(k) + ".";
  const auto weight = [&](const std::string& name, const Shape& shape) {
    return arrays.get<T>(prefix + name, shape);
  };
  of_species = k == 0;
  l_max = network.l_max;
  cutoff = static_cast<T>(network.cutoff);
  cusp = static_cast<T>(network.cusp[k]);
  const std::int64_t F = width = network.feature_widths[k + 1];
  const std::int64_t F_in = width_in = network.feature_widths[k];
  outer = weight("outer.weight", {F, F});
  center = weight("interaction.center.weight", {F, F_in});
  const Shape of_sensitivities = arrays.shape(prefix + "interaction.sensitivities.mu");
  if (of_sensitivities.size() != 1 || of_sensitivities[0] < 1 ||
      of_sensitivities[0] > kMostSensitivities)
    arrays.fail("interaction " + std::to_string(k) + " has no sensitivities, or too many");
  set_sensitivities(weight("interaction.sensitivities.mu", of_sensitivities),
                    weight("interaction.sensitivities.sigma", of_sensitivities));
  mix_ = weight("interaction.neighbors.weight", {F, n_sensitivities() * F_in});
  tensor_scales = weight("interaction.tensor_scales", {l_max, F});
  outer_bias = weight("outer.bias", {F});
  const bool skips = arrays.has(prefix + "skip.weight");
  if (!skips && F_in != F) arrays.fail("there is no weight '" + prefix + "skip.weight'");
  if (skips) skip = weight("skip.weight", {F, F_in});
  center_bias = weight("interaction.center.bias", {F});
  for (std::int64_t n = 0; n < network.n_atom_layers; ++n) {
    const std::string layer = "atom_layers." + std::to_string(n) + ".";
    layers.push_back({weight(layer + "inner.weight", {F, F}), weight(layer + "inner.bias", {F}),
                      weight(layer + "outer.weight", {F, F}), weight(layer + "outer.bias", {F})});
  }
  energy = weight("energy.weight", {1, F});
  energy_bias = weight("energy.bias", {1})[0];
}

template <class T>
void InteractionWeights<T>::set_sensitivities(const std::vector<T>& mu,
                                              const std::vector<T>& sigma_of_file) {
  const auto n = static_cast<std::int64_t>(mu.size());
  order_.resize(n);
  std::iota(order_.begin(), order_.end(), 0);
  std::sort(order_.begin(), order_.end(),
            [&](auto a, auto b) { return T(1) / mu[a] < T(1) / mu[b]; });
  inverse_mu.resize(n);
  sigma.resize(n);
  for (std::int64_t s = 0; s < n; ++s) {
    inverse_mu[s] = T(1) / mu[order_[s]];
    sigma[s] = sigma_of_file[order_[s]];
  }
  // exp(-x²/2) is below a quarter of the rounding error of one beyond this.
  const double limit =
      std::sqrt(-2.0 * std::log(0.25 * static_cast<double>(std::numeric_limits<T>::epsilon())));
  window_begin.assign(kWindowBins, static_cast<std::int16_t>(n));
  window_end.assign(kWindowBins, 0);
  for (std::int64_t bin = 0; bin < kWindowBins; ++bin) {
    // Slightly wider than the bin, because its index is rounded in precision T.
    const double near = static_cast<double>(cutoff) * (bin - 0.01) / kWindowBins;
    const double far = static_cast<double>(cutoff) * (bin + 1.01) / kWindowBins;
    for (std::int64_t s = 0; s < n; ++s) {
      const double reach = limit / std::max(std::abs(static_cast<double>(sigma[s])), 1e-300);
      const double center_of_bell = static_cast<double>(inverse_mu[s]);
      const bool too_far = 1.0 / far > center_of_bell + reach;
      const bool too_near = near > 0.0 && 1.0 / near < center_of_bell - reach;
      if (too_far || too_near) continue;
      window_begin[bin] = std::min<std::int16_t>(window_begin[bin], static_cast<std::int16_t>(s));
      window_end[bin] = static_cast<std::int16_t>(s + 1);
    }
    if (window_end[bin] == 0) window_begin[bin] = 0;
  }
}

template struct InteractionWeights<float>;
template struct InteractionWeights<double>;

}  // namespace ekd
