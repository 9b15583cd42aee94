// The head that reads the uncertainty of the forces, by the kernels of HIP-NN-TS.
#pragma once

#include <torch/script.h>

#include <vector>

#include "hipnn_weights.hpp"

namespace ekd {

template <class T>
class UncertaintyHead {
 public:
  // head: python/ekd/models/uncertainty.py. widths: of the features after each interaction.
  UncertaintyHead(const torch::jit::Module& head, const std::vector<std::int64_t>& widths,
                  const HipnnKernels<T>& kernels)
      : kernels_(kernels), kept_(kernels.panel) {
    const std::vector<T> hidden = numbers<T>(head, "hidden.weight");
    std::vector<T> bias = numbers<T>(head, "hidden.bias");
    std::vector<T> readout = numbers<T>(head, "readout.weight");
    const auto H = static_cast<std::int64_t>(bias.size());
    const auto F = static_cast<std::int64_t>(hidden.size()) / H;  // of all levels side by side
    std::int64_t first = 0;
    for (const std::int64_t width : widths) {
      matrices_.push_back(kept_.pack(width, H, [&](std::int64_t row, std::int64_t column) {
        return hidden[column * F + first + row];
      }));
      first += width;
    }
    const std::int64_t columns = padded_to(H, kernels.panel);
    bias.resize(columns, T(0));
    readout.resize(columns, T(0));
    weights_.n_levels = static_cast<std::int64_t>(matrices_.size());
    weights_.hidden = matrices_.data();
    weights_.hidden_bias = kept_.keep(std::move(bias));
    weights_.readout = kept_.keep(std::move(readout));
    weights_.readout_bias = numbers<T>(head, "readout.bias")[0];
  }

  UncertaintyHead(const UncertaintyHead&) = delete;
  UncertaintyHead& operator=(const UncertaintyHead&) = delete;

  // Sets those of the centres begin .. end - 1. features: that leave each interaction.
  void read(const std::vector<const T*>& features, std::int64_t begin, std::int64_t end,
            double* uncertainty) const {
    kernels_.read_uncertainty(weights_, features.data(), begin, end, uncertainty);
  }

 private:
  const HipnnKernels<T>& kernels_;
  PackedWeights<T> kept_;
  std::vector<PackedMatrix<T>> matrices_;
  UncertaintyWeights<T> weights_;
};

}  // namespace ekd
