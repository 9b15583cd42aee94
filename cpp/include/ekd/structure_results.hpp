// Predictions of a model for one structure.
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
  // For a committee, population standard deviation of a force component, [n_atoms] eV/Å; otherwise
  // empty.
  Buffer<double> forces_std;
  Buffer<double> uncertainty;  // [n_atoms], eV/Å; empty if the file has none
};

// Optional results that take time.
struct WantedResults {
  bool spread = true;       // member_energies and forces_std, for a committee
  bool uncertainty = true;  // if the file has it
};

// graph: n_centers = n_owned, and these equal n_atoms unless the model has one interaction. In that
// case there may be ghosts, which have only forces in the results. Without the spread,
// member_energies contains the mean. Throws std::exception if the model fails.
StructureResults evaluate_structure(ExportedModel& model, AtomGraph graph,
                                    const WantedResults& wanted = {});

}  // namespace ekd
