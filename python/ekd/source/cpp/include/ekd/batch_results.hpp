// What a model says of many structures, which are evaluated some at a time.
#pragma once

#include <cstdint>
#include <functional>

#include "ekd/buffer.hpp"
#include "ekd/exported_model.hpp"
#include "ekd/neighbor_list.hpp"
#include "ekd/structure_results.hpp"

namespace ekd {

// The structures one after the other, each as StructureResults has it.
struct BatchResults {
  Buffer<double> energies;         // [n_structures], eV
  Buffer<double> atomic_energies;  // [n_atoms], eV
  Buffer<double> forces;           // [n_atoms, 3], eV/Å
  Buffer<double> virials;          // [n_structures, 3, 3], eV
  Buffer<double> member_energies;  // [n_structures, n_members], eV; without the spread the mean
  Buffer<double> forces_std;       // [n_atoms], eV/Å; empty if there is one member, or no spread
  Buffer<double> uncertainty;      // [n_atoms], eV/Å; empty if the file has none
};

struct BatchOptions {
  // Structures with no more atoms than this together are one evaluation, and a larger one is one
  // alone; 0: 512, or 2048 for each of several threads. It bounds the memory and does not change
  // the results.
  std::int64_t max_atoms = 0;
  int n_threads = 1;
  WantedResults wanted;
  // Called before each evaluation; what it throws ends the call.
  std::function<void()> before_each;
};

// species: [n_atoms], index into the elements of the model; any number of structures, also none.
// Throws StructureError, as build_neighbor_list does, naming the structure by its place in the
// batch; std::exception if the model misbehaves.
BatchResults evaluate_batch(ExportedModel& model, const StructureBatch& batch,
                            const std::int64_t* species, const BatchOptions& options = {});

}  // namespace ekd
