// What pair_style ekd asks of a model, in plain arrays: the seam between LAMMPS and torch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ekd/model_metadata.hpp"

namespace ekd {

// Atoms 0 .. n_local - 1 are owned, the others are ghosts.
struct Neighborhood {
  std::int64_t n_local = 0;
  std::vector<std::int64_t> species;    // [n_all]
  std::vector<std::int64_t> centers;    // [n_pairs], ascending, owned
  std::vector<std::int64_t> neighbors;  // [n_pairs]
  std::vector<double> pair_vectors;     // [n_pairs, 3], Å, from centre to neighbour
};

struct Energies {
  std::vector<double> atomic_energies;  // [n_local], eV
  std::vector<double> pair_gradients;   // [n_pairs, 3], dE/d(pair_vector), eV/Å
};

// Communication between ranks, on rows of `width` numbers, one row per atom (owned and ghost).
class GhostCommunication {
 public:
  virtual void copy_to_ghosts(std::vector<double>& rows, int width) = 0;
  virtual void add_from_ghosts(std::vector<double>& rows, int width) = 0;

 protected:
  ~GhostCommunication() = default;  // never deleted through this class
};

class Evaluator {
 public:
  // Throws ModelFileError, with a message for the user.
  Evaluator(const std::string& path, int n_threads);
  ~Evaluator();

  const ModelMetadata& metadata() const;

  // Collective: every rank calls it, whether it owns atoms or not.
  Energies evaluate(const Neighborhood& neighborhood, GhostCommunication& communication);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace ekd
