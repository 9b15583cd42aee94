// Neighbor lists of one structure or a batch of structures. No torch, Python or LAMMPS here.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ekd/buffer.hpp"

namespace ekd {

// Atoms closer than this (Å) are treated as an error in the input.
inline constexpr double kOverlapDistance = 1e-3;

// One structure or several: structure s owns atoms offsets[s] .. offsets[s + 1] - 1.
struct StructureBatch {
  std::int64_t n_structures = 0;
  const std::int64_t* offsets = nullptr;  // [n_structures + 1]
  const double* positions = nullptr;      // [n_atoms, 3], Å
  const double* cells = nullptr;          // [n_structures, 3, 3], rows are lattice vectors; or null
  const std::uint8_t* pbc = nullptr;      // [n_structures, 3]; null: nothing is periodic
  // Index of the first structure in error messages. -1: 0, and a single structure has no index.
  std::int64_t first_number = -1;
};

// A full list (i -> j and j -> i), sorted by center, of all pairs with distance < cutoff.
//
//   pair_vectors[p] = positions[neighbors[p]] - positions[centers[p]] + cell_shifts[p] @ cell
//
// An atom is its own neighbor only through a periodic image. A pair occurs once per image. The
// order of the pairs of a center depends only on the structure and the cutoff, not on the number of
// threads or the processor.
struct NeighborList {
  Buffer<std::int64_t> pairs;                // [2, n_pairs]: centers, ascending, then neighbors;
                                             // indices into the whole batch
  Buffer<std::int32_t> cell_shifts;          // [n_pairs, 3]
  Buffer<double> pair_vectors;               // [n_pairs, 3], Å
  std::vector<std::int64_t> center_offsets;  // [n_atoms + 1]: pairs of each atom
  std::vector<std::int64_t> pair_offsets;    // [n_structures + 1]: pairs of each structure

  std::size_t n_pairs() const { return pairs.size() / 2; }
  std::span<const std::int64_t> centers() const { return {pairs.data(), n_pairs()}; }
  std::span<const std::int64_t> neighbors() const { return {pairs.data() + n_pairs(), n_pairs()}; }
};

// Cell list: O(n_atoms) at any density; any triclinic cell, any combination of periodic directions,
// cells smaller than the cutoff. The atoms of all structures are divided among threads.
// Throws StructureError: empty structure, overlapping atoms, a position that is not finite, a
// periodic direction without a cell vector, linearly dependent cell vectors.
NeighborList build_neighbor_list(const StructureBatch& batch, double cutoff, int n_threads = 1);

// Neighbor lists of a moving structure. It keeps all pairs within cutoff + skin and selects
// neighbors from these, until an atom has moved by more than half the skin, or the cell, the
// periodic directions or the number of atoms change.
class VerletList {
 public:
  // Throws StructureError: the cutoff is not positive, the skin is negative, or not finite.
  VerletList(double cutoff, double skin);
  ~VerletList();

  // The pairs within the cutoff, as found by build_neighbor_list, but in the order of the last
  // rebuild for each center. Throws like build_neighbor_list.
  NeighborList update(const StructureBatch& structure, int n_threads = 1);

  std::int64_t n_rebuilds() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ekd
