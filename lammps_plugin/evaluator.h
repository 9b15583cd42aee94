// What pair_style ekd asks of a model, in plain arrays: the seam between LAMMPS and torch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ekd/buffer.hpp"
#include "ekd/model_metadata.hpp"

namespace ekd {

// Atoms 0 .. n_owned - 1 are owned, the others are ghosts. The arrays of pairs only ever grow, so
// that a step costs no more than writing them; what counts is n_pairs.
struct Neighborhood {
  std::int64_t n_owned = 0;
  // Every atom is evaluated here, ghosts too if there are any: nothing to exchange.
  bool complete = false;
  bool with_uncertainty = false;      // whether it is asked for, of a model that has it
  std::vector<std::int64_t> species;  // [n_all]
  // The pairs of atom i are offsets[i] and following; owned atoms have pairs, or all if complete.
  std::vector<std::int64_t> offsets;  // [n_owned + 1], or [n_all + 1]
  std::int64_t n_pairs = 0;
  Buffer<std::int64_t> neighbors;  // [>= n_pairs]
  Buffer<double> pair_vectors;     // [>= n_pairs, 3], Å, from centre to neighbour

  // What they hold is lost where there is no room. With every list of LAMMPS the number changes a
  // little: some is made for that.
  void reserve_pairs(std::size_t most) {
    if (neighbors.size() >= most) return;
    const std::size_t room = most + most / 16;
    neighbors = {};  // the memory may serve again
    neighbors = Buffer<std::int64_t>(room);
    pair_vectors = {};
    pair_vectors = Buffer<double>(3 * room);
  }
};

// Valid until the next evaluation.
struct Energies {
  const double* atomic_energies;  // [n_owned], eV
  const double* pair_gradients;   // [n_pairs, 3], dE/d(pair_vector), eV/Å
  const double* uncertainty;      // [n_owned], of a component of the force, eV/Å; null: not asked
};

// Numbers of all atoms, owned and ghosts, `width` for each, in the memory of the caller.
struct AtomRows {
  AtomRows(double* rows, int width) : numbers(rows), width(width), is_single(false) {}
  AtomRows(float* rows, int width) : numbers(rows), width(width), is_single(true) {}

  void* numbers;  // float or double
  int width;
  bool is_single;
};

// Communication between ranks.
class GhostCommunication {
 public:
  virtual void copy_to_ghosts(AtomRows rows) = 0;
  virtual void add_from_ghosts(AtomRows rows) = 0;

 protected:
  ~GhostCommunication() = default;  // never deleted through this class
};

struct EvaluatorOptions {
  std::string device = "cpu";       // a torch device
  std::string precision = "model";  // "single", "double", or that of the file
  std::int64_t block = 0;           // atoms evaluated at a time, 0: all
  bool self_test = true;
  int n_threads = 1;
};

// The device that a process takes when the user names none: one of the GPUs that torch can use,
// shared out among the processes of a computer, else the CPU.
std::string default_device(int rank_on_computer);

class Evaluator {
 public:
  // Throws std::exception, with a message for the user.
  Evaluator(const std::string& path, const EvaluatorOptions& options);
  ~Evaluator();

  const ModelMetadata& metadata() const;

  // What the model gives to an atom without neighbours: [n_species] eV, the mean over students.
  const std::vector<double>& free_atom_energies() const;

  // Numbers in the widest row that an evaluation communicates.
  int exchange_width() const;

  // The mean over the students of the file; `each_member` is shown what every one finds, in turn.
  // Collective, unless the neighbourhood is complete: every rank calls it, whether it owns atoms
  // or not.
  Energies evaluate(const Neighborhood& neighborhood, GhostCommunication& communication,
                    const std::function<void(const Energies&)>& each_member = {});

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace ekd
