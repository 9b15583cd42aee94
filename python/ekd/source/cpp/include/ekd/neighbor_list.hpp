// Neighbour lists of one structure or of a batch of structures. No torch, Python or LAMMPS here.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ekd/buffer.hpp"

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
  // How errors count the structures: the first is this one. -1: from 0, and one alone has no
  // number.
  std::int64_t first_number = -1;
};

// A full list (i -> j and j -> i), sorted by centre, of all pairs with distance < cutoff.
//
//   pair_vectors[p] = positions[neighbors[p]] - positions[centers[p]] + cell_shifts[p] @ cell
//
// An atom is its own neighbour only through a periodic image. A pair occurs once per image. The
// pairs of one centre are in an order that depends on the structure and the cutoff alone: not on
// the number of threads, nor on the processor.
struct NeighborList {
  Buffer<std::int64_t> pairs;                // [2, n_pairs]: centres, ascending, then neighbours;
                                             // they index into the whole batch
  Buffer<std::int32_t> cell_shifts;          // [n_pairs, 3]
  Buffer<double> pair_vectors;               // [n_pairs, 3], Å
  std::vector<std::int64_t> center_offsets;  // [n_atoms + 1]: pairs of each atom
  std::vector<std::int64_t> pair_offsets;    // [n_structures + 1]: pairs of each structure

  std::size_t n_pairs() const { return pairs.size() / 2; }
  std::span<const std::int64_t> centers() const { return {pairs.data(), n_pairs()}; }
  std::span<const std::int64_t> neighbors() const { return {pairs.data() + n_pairs(), n_pairs()}; }
};

// Cell list: O(n_atoms) at any density, any triclinic cell, any mix of periodic directions, cells
// smaller than the cutoff. Threads share the atoms of all structures.
// Throws StructureError: empty structure, overlapping atoms, a position that is not finite, a
// periodic direction without a cell vector, linearly dependent cell vectors.
NeighborList build_neighbor_list(const StructureBatch& batch, double cutoff, int n_threads = 1);

// Lists of one structure as it moves. It keeps all pairs within cutoff + skin and looks for
// neighbours among those, until an atom has moved further than half the skin, or the cell, the
// periodic directions or the number of atoms change.
class VerletList {
 public:
  // Throws StructureError: the cutoff is not positive, the skin is negative, or not finite.
  VerletList(double cutoff, double skin);
  ~VerletList();

  // The pairs within the cutoff: those that build_neighbor_list finds, their order within a centre
  // being that of the structure at the last rebuild. Throws what build_neighbor_list throws.
  NeighborList update(const StructureBatch& structure, int n_threads = 1);

  std::int64_t n_rebuilds() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ekd
