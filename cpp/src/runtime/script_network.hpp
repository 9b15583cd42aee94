// Any network of the staged protocol, run as the TorchScript that it is, differentiated by
// autograd.
#pragma once

#include <torch/script.h>

#include <vector>

#include "ekd/network.hpp"

namespace ekd {

class ScriptNetwork : public Network {
 public:
  // The module has `embed` and `interact`; its parameters become those of `dtype`.
  ScriptNetwork(torch::jit::Module module, std::int64_t n_interactions, torch::ScalarType dtype,
                std::int64_t block);

  Evaluation evaluate(const AtomGraph& graph, GhostExchange& exchange) override;
  std::int64_t exchange_width() const override { return exchange_width_; }

 private:
  // Some consecutive centres and their pairs.
  struct Block {
    std::int64_t first_center, n_centers, first_pair, n_pairs;
  };
  // One interaction of one block. Its graph has leaves of its own, so that features can leave the
  // process in between: the features after an exchange, and the pair vectors.
  struct Stage {
    torch::Tensor features_in;   // [n_all, F_k], leaf
    torch::Tensor pair_vectors;  // [n_pairs of the block, 3], leaf
    torch::Tensor features_out;  // [n_centers of the block, F_(k+1)]
    torch::Tensor energies;      // [n_centers of the block]
  };

  std::vector<Block> cut(const AtomGraph& graph) const;
  // centers [n_pairs]: those of the graph.
  Stage run(std::int64_t k, const AtomGraph& graph, const torch::Tensor& centers,
            const Block& block, const torch::Tensor& features, bool differentiable);

  torch::jit::Module module_;
  std::int64_t n_interactions_;
  std::int64_t block_;
  std::int64_t exchange_width_ = 0;
};

}  // namespace ekd
