// One network of an exported file: energies, and gradients with respect to every pair vector.
#pragma once

#include <cstdint>

#include "ekd/buffer.hpp"

namespace ekd {

// The atoms of a process, and the pairs whose centres it evaluates. The arrays are the caller's.
struct AtomGraph {
  std::int64_t n_atoms = 0;
  const std::int64_t* species = nullptr;  // [n_atoms], index into the elements of the model
  std::int64_t n_centers = 0;             // atoms 0 .. n_centers - 1 are evaluated ...
  std::int64_t n_owned = 0;               // ... and the energies of the first n_owned of them count
  std::int64_t n_pairs = 0;
  const std::int64_t* offsets = nullptr;    // [n_centers + 1]: the pairs of centre i are
                                            // offsets[i] and following
  const std::int64_t* neighbors = nullptr;  // [n_pairs]
  const double* pair_vectors = nullptr;     // [n_pairs, 3], Å, from centre to neighbour
  bool with_uncertainty = false;            // whether it is asked for, of networks that have it
  int n_threads = 1;
};

struct Evaluation {
  Buffer<double> atomic_energies;  // [n_owned], eV
  Buffer<double> pair_gradients;   // [n_pairs, 3], dE/d(pair_vector), eV/Å
  Buffer<double> uncertainty;      // [n_owned], eV/Å: the error that is expected of a component of
                                   // the force; empty if it was not asked for
};

// Numbers of all atoms, evaluated or not, `width` for each, in the memory of the caller.
struct AtomRows {
  AtomRows(double* rows, std::int64_t width) : numbers(rows), width(width), is_single(false) {}
  AtomRows(float* rows, std::int64_t width) : numbers(rows), width(width), is_single(true) {}

  void* numbers;  // float or double, [n_atoms, width]
  std::int64_t width;
  bool is_single;
};

// How an engine moves numbers between atoms that are evaluated and those that are not (ghosts).
class GhostExchange {
 public:
  // False: every atom of every process is evaluated, and neither of the following does anything.
  virtual bool is_needed() const = 0;
  // The rows of ghosts become those of their owners.
  virtual void copy_to_ghosts(AtomRows rows) = 0;
  // The rows of ghosts are added to those of their owners, and mean nothing afterwards.
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

  // Collective where the exchange is: n_interactions - 1 times either way, atoms or not.
  // Where memory runs out, it goes on with smaller blocks, see reduced_block.
  // Throws std::bad_alloc if that is not enough; std::exception if the network misbehaves.
  virtual Evaluation evaluate(const AtomGraph& graph, GhostExchange& exchange) = 0;

  // Numbers in the widest row that it exchanges; 0: it never does.
  virtual std::int64_t exchange_width() const = 0;

  // Atoms that are evaluated at a time since memory has run out; 0: it never has.
  virtual std::int64_t reduced_block() const { return 0; }

  // The same network as engines use it that bring no pairs; null: it does not run on a device.
  virtual class DeviceRows* on_device() { return nullptr; }
};

}  // namespace ekd
