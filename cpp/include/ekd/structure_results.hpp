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
  std::array<double, 9> virial{};       // [3, 3], eV
  std::vector<double> member_energies;  // [n_members], eV
  // Of a committee, population standard deviation of a component of the force, [n_atoms] eV/Å;
  // else empty.
  Buffer<double> forces_std;
  Buffer<double> uncertainty;  // [n_atoms], eV/Å; empty if the file has none
};

// graph: n_atoms = n_centers = n_owned. The uncertainty is there if the file has it.
// Throws std::exception if the model misbehaves.
StructureResults evaluate_structure(ExportedModel& model, AtomGraph graph);

// Where the pairs of each centre begin, [n_atoms + 1], of pairs sorted by centre, whose indices are
// checked: memory is read by them.
// Throws StructureError: they are out of order or range.
std::vector<std::int64_t> offsets_of(const std::int64_t* centers, const std::int64_t* neighbors,
                                     std::int64_t n_pairs, std::int64_t n_atoms);

}  // namespace ekd
