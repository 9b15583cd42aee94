// What a model says of one whole structure, in which every atom is evaluated.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "ekd/buffer.hpp"
#include "ekd/exported_model.hpp"

namespace ekd {

struct StructureResults {
  Buffer<double> atomic_energies;       // [n_atoms], eV
  Buffer<double> forces;                // [n_atoms, 3], eV/Å
  Buffer<double> pair_gradients;        // [n_pairs, 3], eV/Å, see Evaluation
  std::array<double, 9> virial{};       // [3, 3], eV
  std::vector<double> member_energies;  // [n_members], eV
  // Of a committee, population standard deviation of a component of the force, [n_atoms] eV/Å;
  // else empty.
  Buffer<double> forces_std;
  Buffer<double> uncertainty;  // [n_atoms], eV/Å; empty if the file has none
};

// What takes time and is not always asked for.
struct WantedResults {
  bool spread = true;       // member_energies and forces_std of a committee
  bool uncertainty = true;  // if the file has it
};

// graph: n_centers = n_owned. They are n_atoms, unless the model has one interaction: then there
// may be ghosts, of which the results have forces alone. Without the spread, member_energies holds
// the mean. Throws std::exception if the model misbehaves.
StructureResults evaluate_structure(ExportedModel& model, AtomGraph graph,
                                    const WantedResults& wanted = {});

}  // namespace ekd
