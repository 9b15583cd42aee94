// The head for the uncertainty of the forces, evaluated by the kernels of HIP-NN-TS.
#pragma once

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "ekd/weights.hpp"
#include "hipnn_weights.hpp"

namespace ekd {

template <class T>
class UncertaintyHead {
 public:
  // weights: weights of the network; the head is defined in python/ekd/models/uncertainty_head.py.
  // widths: numbers of features after each interaction.
  UncertaintyHead(const Weights& weights, const std::vector<std::int64_t>& widths,
                  const HipnnKernels<T>& kernels)
      : kernels_(kernels), kept_(kernels.panel) {
    const std::string head = "uncertainty_head.";
    const std::vector<std::int64_t>& shape = weights.shape(head + "first.bias");
    const std::int64_t H = shape.empty() ? 1 : shape[0];
    const std::int64_t F =  // sum over all levels
        std::accumulate(widths.begin(), widths.end(), std::int64_t{0});
    const std::vector<T> first = weights.get<T>(head + "first.weight", {H, F});
    const std::vector<T> second = weights.get<T>(head + "second.weight", {H, H});
    const std::int64_t columns = padded_to(H, kernels.panel);
    const auto row = [&](const char* name, const std::vector<std::int64_t>& expected) {
      std::vector<T> values = weights.get<T>(head + name, expected);
      values.resize(columns, T(0));
      return kept_.keep(values);
    };
    std::int64_t start = 0;
    for (const std::int64_t width : widths) {
      first_.push_back(kept_.pack(width, H, [&](std::int64_t from, std::int64_t to) {
        return first[to * F + start + from];
      }));
      start += width;
    }
    weights_.n_levels = static_cast<std::int64_t>(first_.size());
    weights_.first = first_.data();
    weights_.first_bias = row("first.bias", {H});
    weights_.second = kept_.pack(columns, H, [&](std::int64_t from, std::int64_t to) {
      return from < H ? second[to * H + from] : T(0);
    });
    weights_.second_bias = row("second.bias", {H});
    weights_.readout = row("readout.weight", {1, H});
    weights_.readout_bias = weights.get<T>(head + "readout.bias", {1})[0];
  }

  UncertaintyHead(const UncertaintyHead&) = delete;
  UncertaintyHead& operator=(const UncertaintyHead&) = delete;

  // Sets the uncertainty of the centers begin .. end - 1 from output features of each interaction.
  void read(const std::vector<const T*>& features, std::int64_t begin, std::int64_t end,
            double* uncertainty) const {
    kernels_.read_uncertainty(weights_, features.data(), begin, end, uncertainty);
  }

 private:
  const HipnnKernels<T>& kernels_;
  PackedWeights<T> kept_;
  std::vector<PackedMatrix<T>> first_;
  UncertaintyWeights<T> weights_;
};

}  // namespace ekd
