// Any network of the staged protocol, run as TorchScript and differentiated by autograd.
#pragma once

#include <torch/script.h>

#include <vector>

#include "ekd/network.hpp"

namespace ekd {

class ScriptNetwork : public Network {
 public:
  // The module must have `embed` and `interact`, and be on the device; its parameters are converted
  // to `dtype`. Exchanged and returned data go through CPU memory.
  ScriptNetwork(torch::jit::Module module, std::int64_t n_interactions, const torch::Device& device,
                torch::ScalarType dtype, std::int64_t block);

  Evaluation evaluate(const AtomGraph& graph, GhostExchange& exchange) override;
  std::int64_t exchange_width() const override { return exchange_width_; }

 private:
  // Some consecutive centers and their pairs.
  struct Block {
    std::int64_t first_center, n_centers, first_pair, n_pairs;
  };
  // The arrays of an AtomGraph on the device of the network.
  struct Graph {
    torch::Tensor species;       // [n_atoms] int64
    torch::Tensor centers;       // [n_pairs] int64, ascending
    torch::Tensor neighbors;     // [n_pairs] int64
    torch::Tensor pair_vectors;  // [n_pairs, 3] float64
  };
  // One interaction of one block. Its graph has its own leaves, so that features can be exchanged
  // between processes: the features after an exchange, and the pair vectors.
  struct Stage {
    torch::Tensor features_in;   // [n_all, F_k], leaf
    torch::Tensor pair_vectors;  // [n_pairs of the block, 3], leaf
    torch::Tensor features_out;  // [n_centers of the block, F_(k+1)]
    torch::Tensor energies;      // [n_centers of the block]
  };

  std::vector<Block> cut(const AtomGraph& graph) const;
  Graph copy_to_device(const AtomGraph& graph) const;
  Stage run(std::int64_t k, const Graph& graph, const Block& block, const torch::Tensor& features,
            bool differentiable);

  torch::jit::Module module_;
  std::int64_t n_interactions_;
  torch::Device device_;
  std::int64_t block_;
  std::int64_t exchange_width_ = 0;
};

}  // namespace ekd
