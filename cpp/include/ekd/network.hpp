// One network of an exported file: energies, and gradients with respect to every pair vector.
#pragma once

#include <cstdint>

#include "ekd/buffer.hpp"

namespace ekd {

// The atoms of a process, and the pairs of the centers that it evaluates. Does not own the arrays.
struct AtomGraph {
  std::int64_t n_atoms = 0;
  const std::int64_t* species = nullptr;  // [n_atoms], index into the elements of the model
  std::int64_t n_centers = 0;             // atoms 0 .. n_centers - 1 are evaluated ...
  std::int64_t n_owned = 0;               // ... and energies of the first n_owned are summed
  std::int64_t n_pairs = 0;
  const std::int64_t* offsets = nullptr;    // [n_centers + 1]: the pairs of center i are
                                            // offsets[i] .. offsets[i + 1] - 1
  const std::int64_t* neighbors = nullptr;  // [n_pairs]
  const double* pair_vectors = nullptr;     // [n_pairs, 3], Å, from center to neighbor
  bool with_uncertainty = false;            // request it from networks that have it
  int n_threads = 1;
};

struct Evaluation {
  Buffer<double> atomic_energies;  // [n_owned], eV
  Buffer<double> pair_gradients;   // [n_pairs, 3], dE/d(pair_vector), eV/Å
  Buffer<double> uncertainty;      // [n_owned], eV/Å: expected error of a force component; empty
                                   // if not requested
};

// Per-atom data of all atoms, including ghosts; `width` numbers each, owned by the caller.
struct AtomRows {
  AtomRows(double* rows, std::int64_t width) : numbers(rows), width(width), is_single(false) {}
  AtomRows(float* rows, std::int64_t width) : numbers(rows), width(width), is_single(true) {}

  void* numbers;  // float or double, [n_atoms, width]
  std::int64_t width;
  bool is_single;
};

// Exchange of data between atoms that are evaluated and ghosts, implemented by the engine.
class GhostExchange {
 public:
  // False: every atom of every process is evaluated, and the following functions do nothing.
  virtual bool is_needed() const = 0;
  // Sets the rows of ghosts to those of their owners.
  virtual void copy_to_ghosts(AtomRows rows) = 0;
  // Adds the rows of ghosts to those of their owners; rows of ghosts are undefined afterwards.
  virtual void add_from_ghosts(AtomRows rows) = 0;

 protected:
  ~GhostExchange() = default;  // never deleted through this class
};

// For a graph in which every atom is evaluated.
class NoExchange final : public GhostExchange {
 public:
  bool is_needed() const override { return false; }
  void copy_to_ghosts(AtomRows) override {}
  void add_from_ghosts(AtomRows) override {}
};

class Network {
 public:
  virtual ~Network() = default;

  // If the exchange is collective, so is this: it exchanges n_interactions - 1 times in each
  // direction, even without atoms. If memory runs out, it continues with smaller blocks, see
  // reduced_block.
  // Throws std::bad_alloc if that is not sufficient; std::exception if the network fails.
  virtual Evaluation evaluate(const AtomGraph& graph, GhostExchange& exchange) = 0;

  // Largest width of exchanged rows; 0: nothing is exchanged.
  virtual std::int64_t exchange_width() const = 0;

  // Reduced number of atoms evaluated at once after memory has run out; 0: it has not.
  virtual std::int64_t reduced_block() const { return 0; }

  // The same network with the interface for neighbor rows; null: it does not run on a device.
  virtual class DeviceRows* on_device() { return nullptr; }
};

}  // namespace ekd
