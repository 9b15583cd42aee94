// Neighbour lists of one structure or of a batch of structures. No torch, Python or LAMMPS here.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace ekd {

// Atoms closer than this (Å) are on top of each other: an error in the input, not physics.
inline constexpr double kOverlapDistance = 1e-3;

// One structure or several: structure s owns atoms offsets[s] .. offsets[s + 1] - 1.
struct StructureBatch {
  std::int64_t n_structures = 0;
  const std::int64_t* offsets = nullptr;  // [n_structures + 1]
  const double* positions = nullptr;      // [n_atoms, 3], Å
  const double* cells = nullptr;          // [n_structures, 3, 3], rows are lattice vectors; or null
  const std::uint8_t* pbc = nullptr;      // [n_structures, 3]; null: nothing is periodic
};

// A full list (i -> j and j -> i), sorted by centre, of all pairs with distance < cutoff.
//
//   pair_vectors[p] = positions[neighbors[p]] - positions[centers[p]] + cell_shifts[p] @ cell
//
// An atom is its own neighbour only through a periodic image. A pair occurs once per image.
struct NeighborList {
  std::vector<std::int64_t> centers;       // [n_pairs], ascending, index into the whole batch
  std::vector<std::int64_t> neighbors;     // [n_pairs], index into the whole batch
  std::vector<std::int64_t> cell_shifts;   // [n_pairs, 3]
  std::vector<double> pair_vectors;        // [n_pairs, 3], Å
  std::vector<std::int64_t> pair_offsets;  // [n_structures + 1]: pairs of each structure
};

// Cell list: O(n_atoms) at constant density, any triclinic cell, any mix of periodic directions,
// cells smaller than the cutoff.
// Throws StructureError: empty structure, overlapping atoms, a position that is not finite, a
// periodic direction without a cell vector, linearly dependent cell vectors.
NeighborList build_neighbor_list(const StructureBatch& batch, double cutoff);

}  // namespace ekd
