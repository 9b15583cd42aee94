// The pairs of one evaluation, by their centers and by their neighbors.
//
// A process has the pairs whose center it owns. For each of them, the owner of the other atom has
// the reverse. With ghosts, interaction blocks after the first therefore read the pairs in the
// reverse direction: the neighbors are owned, and ghosts are centers. Thus, the owner of an atom
// projects its features once and adds the messages to all centers, and the sums of ghosts are sent
// to their owners.
#pragma once

#include <cstdint>
#include <vector>

#include "ekd/hipnn_kernels.hpp"
#include "ekd/network.hpp"
#include "workspace.hpp"

namespace ekd {

class PairDirections {
 public:
  // Keeps pointers into `graph`.
  void set(const AtomGraph& graph, bool has_later, bool has_ghosts);

  const StagePairs& first() const { return first_; }  // for the first interaction
  const StagePairs& later() const { return later_; }  // for the others

  // Atoms that are neighbors in later interactions; all of them are evaluated here.
  const std::vector<std::int64_t>& senders() const { return senders_; }
  bool is_neighbor(std::int64_t atom) const;
  double nearest_later(std::int64_t atom) const;  // Å; shortest pair as a neighbor

  // Neighbors of the centers begin .. end - 1 in a later interaction, each once.
  std::vector<std::int64_t> neighbors_of(std::int64_t begin, std::int64_t end) const;

 private:
  void sort_by_neighbors(const AtomGraph& graph);

  StagePairs first_{}, later_{};
  std::int64_t n_atoms_ = 0;
  std::vector<std::int64_t> columns_;              // [n_atoms + 1], first pair of each neighbor
  Workspace<std::int64_t> next_;                   // [n_atoms]
  Workspace<std::int64_t> by_neighbor_, centers_;  // [n_pairs]
  std::vector<std::int64_t> senders_;
};

}  // namespace ekd
