// One network of an exported file: energies, and gradients with respect to every pair vector.
#pragma once

#include <torch/torch.h>

#include <cstdint>

// Libraries are built with hidden symbols; these are what libekd_torch.so offers to engines.
#define EKD_EXPORT __attribute__((visibility("default")))

namespace ekd {

// The atoms of a process, and the pairs whose centres it evaluates.
struct AtomGraph {
  torch::Tensor species;          // [n_all] int64, index into the elements of the model
  torch::Tensor centers;          // [n_pairs] int64, ascending
  torch::Tensor neighbors;        // [n_pairs] int64
  torch::Tensor pair_vectors;     // [n_pairs, 3] float64, Å, from centre to neighbour
  std::int64_t n_centers = 0;     // atoms 0 .. n_centers - 1 are evaluated ...
  std::int64_t n_owned = 0;       // ... and the energies of the first n_owned of them count
  bool with_uncertainty = false;  // whether it is asked for, of networks that have it
};

struct Evaluation {
  torch::Tensor atomic_energies;  // [n_owned], eV, float64
  torch::Tensor pair_gradients;   // [n_pairs, 3], dE/d(pair_vector), eV/Å, float64
  // [n_owned], eV/Å, float64: how far the teachers would disagree about a component of the force.
  // Undefined if it was not asked for.
  torch::Tensor uncertainty;
};

// How an engine moves features between atoms that are evaluated and those that are not (ghosts).
class EKD_EXPORT FeatureExchange {
 public:
  virtual ~FeatureExchange() = default;
  // features [n_centers, F] -> features [n_all, F]: ghosts get those of their owners.
  virtual torch::Tensor forward(const torch::Tensor& features) = 0;
  // gradients [n_all, F] -> [n_centers, F]: those of ghosts are added to their owners'.
  virtual torch::Tensor reverse(const torch::Tensor& gradients) = 0;
};

// For a graph in which every atom is evaluated.
class EKD_EXPORT NoExchange : public FeatureExchange {
 public:
  torch::Tensor forward(const torch::Tensor& features) override { return features; }
  torch::Tensor reverse(const torch::Tensor& gradients) override { return gradients; }
};

class Network {
 public:
  virtual ~Network() = default;

  // The tensors of the graph lie on the device of the network. Those of the result do too, and
  // belong to the caller.
  // Collective where the exchange is: n_interactions - 1 exchanges forward and as many in
  // reverse, atoms or not.
  // Throws std::exception if the network misbehaves.
  virtual Evaluation evaluate(const AtomGraph& graph, FeatureExchange& exchange) = 0;
};

}  // namespace ekd
