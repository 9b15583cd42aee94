// Predictions for many structures, evaluated in batches.
#pragma once

#include <cstdint>
#include <functional>

#include "ekd/buffer.hpp"
#include "ekd/exported_model.hpp"
#include "ekd/neighbor_list.hpp"
#include "ekd/structure_results.hpp"

namespace ekd {

// Concatenated results of all structures, see StructureResults.
struct BatchResults {
  Buffer<double> energies;         // [n_structures], eV
  Buffer<double> atomic_energies;  // [n_atoms], eV
  Buffer<double> forces;           // [n_atoms, 3], eV/Å
  Buffer<double> virials;          // [n_structures, 3, 3], eV
  Buffer<double> member_energies;  // [n_structures, n_members], eV; the mean if without spread
  Buffer<double> forces_std;       // [n_atoms], eV/Å; empty if there is one member, or no spread
  Buffer<double> uncertainty;      // [n_atoms], eV/Å; empty if the file has none
};

struct BatchOptions {
  // Structures are evaluated together up to this number of atoms, a larger one alone; 0: 512, or
  // 2048 for each of several threads. It limits the memory and does not change the results.
  std::int64_t max_atoms = 0;
  int n_threads = 1;
  WantedResults wanted;
  // Called before each evaluation; an exception ends the call.
  std::function<void()> before_each;
};

// species: [n_atoms], index into the elements of the model. The batch may be empty.
// Throws StructureError, like build_neighbor_list, with the index of the structure in the batch;
// std::exception if the model fails.
BatchResults evaluate_batch(ExportedModel& model, const StructureBatch& batch,
                            const std::int64_t* species, const BatchOptions& options = {});

}  // namespace ekd
