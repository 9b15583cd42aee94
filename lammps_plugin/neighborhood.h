// The atoms of a process and their pairs, in memory that is kept between steps.
#pragma once

#include <cstdint>
#include <vector>

#include "ekd/buffer.hpp"
#include "ekd/network.hpp"

namespace ekd {

// Atoms 0 .. n_owned - 1 are owned, the others are ghosts. The arrays of pairs never shrink, to
// avoid allocations in every step; only the first n_pairs entries are valid.
struct Neighborhood {
  std::int64_t n_owned = 0;
  // Every atom, including ghosts, is evaluated here: nothing to exchange.
  bool complete = false;
  std::vector<std::int64_t> species;  // [n_all]
  // Pairs of atom i: offsets[i] .. offsets[i + 1] - 1; of owned atoms, or of all if complete.
  std::vector<std::int64_t> offsets;  // [n_owned + 1], or [n_all + 1]
  std::int64_t n_pairs = 0;
  Buffer<std::int64_t> neighbors;  // [>= n_pairs]
  Buffer<double> pair_vectors;     // [>= n_pairs, 3], Å, from center to neighbor

  // Reallocation discards the content. It adds a margin, because the number of pairs changes
  // slightly with every list of LAMMPS.
  void reserve_pairs(std::size_t most) {
    if (neighbors.size() >= most) return;
    const std::size_t room = most + most / 16;
    neighbors = {};  // free the memory first
    neighbors = Buffer<std::int64_t>(room);
    pair_vectors = {};
    pair_vectors = Buffer<double>(3 * room);
  }

  AtomGraph graph() const {
    AtomGraph graph;
    graph.n_atoms = static_cast<std::int64_t>(species.size());
    graph.species = species.data();
    graph.n_centers = static_cast<std::int64_t>(offsets.size()) - 1;
    graph.n_owned = n_owned;
    graph.n_pairs = n_pairs;
    graph.offsets = offsets.data();
    graph.neighbors = neighbors.data();
    graph.pair_vectors = pair_vectors.data();
    return graph;
  }
};

}  // namespace ekd
