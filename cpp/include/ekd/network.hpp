// One network of an exported file: energies, and gradients with respect to every pair vector.
#pragma once

#include <torch/torch.h>

#include <cstdint>

// Libraries are built with hidden symbols; these are what libekd_torch.so offers to engines.
#define EKD_EXPORT __attribute__((visibility("default")))

namespace ekd {

// The atoms of a process, and the pairs whose centres it evaluates.
struct EKD_EXPORT AtomGraph {
  torch::Tensor species;          // [n_all] int64, index into the elements of the model
  torch::Tensor offsets;          // [n_centers + 1] int64: the pairs of centre i are offsets[i] and
                                  // following; atoms 0 .. n_centers - 1 are evaluated ...
  torch::Tensor neighbors;        // [n_pairs] int64
  torch::Tensor pair_vectors;     // [n_pairs, 3] float64, Å, from centre to neighbour
  std::int64_t n_owned = 0;       // ... and the energies of the first n_owned of them count
  bool with_uncertainty = false;  // whether it is asked for, of networks that have it

  std::int64_t n_centers() const { return offsets.size(0) - 1; }
  torch::Tensor centers() const;  // [n_pairs] int64, ascending
};

struct Evaluation {
  torch::Tensor atomic_energies;  // [n_owned], eV, float64
  torch::Tensor pair_gradients;   // [n_pairs, 3], dE/d(pair_vector), eV/Å, float64
  // [n_owned], eV/Å, float64: the error that is expected of a component of the force.
  // Undefined if it was not asked for.
  torch::Tensor uncertainty;
};

// How an engine moves numbers between atoms that are evaluated and those that are not (ghosts), in
// contiguous rows [n_all, width], in place.
class EKD_EXPORT GhostExchange {
 public:
  virtual ~GhostExchange() = default;
  // False: every atom of every process is evaluated, and neither of the following does anything.
  virtual bool is_needed() const = 0;
  // The rows of ghosts become those of their owners.
  virtual void copy_to_ghosts(torch::Tensor& rows) = 0;
  // The rows of ghosts are added to those of their owners, and mean nothing afterwards.
  virtual void add_from_ghosts(torch::Tensor& rows) = 0;
};

// For a graph in which every atom is evaluated.
class EKD_EXPORT NoExchange : public GhostExchange {
 public:
  bool is_needed() const override { return false; }
  void copy_to_ghosts(torch::Tensor&) override {}
  void add_from_ghosts(torch::Tensor&) override {}
};

class Network {
 public:
  virtual ~Network() = default;

  // The tensors of the graph lie on the device of the network. Those of the result do too, and
  // belong to the caller.
  // Collective where the exchange is: n_interactions - 1 times either way, atoms or not.
  // Throws std::exception if the network misbehaves.
  virtual Evaluation evaluate(const AtomGraph& graph, GhostExchange& exchange) = 0;

  // Numbers in the widest row that it exchanges; 0: it never does.
  virtual std::int64_t exchange_width() const = 0;
};

}  // namespace ekd
