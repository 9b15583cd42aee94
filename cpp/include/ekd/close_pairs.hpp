// Detection of atoms that are closer to each other than in the training data.
//
// Tables have one row per pair of elements: i * n_species + j for species i and j.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "ekd/model_metadata.hpp"
#include "ekd/network.hpp"

namespace ekd {

// Two atoms that are closer than any pair of their elements in the training data.
struct ClosePair {
  std::int64_t species[2];
  std::int64_t atoms[2];     // of these species, in this order
  double distance;           // Å
  double training_distance;  // Å; infinity: no such pair in the training data
};

// The closest pair of the graph for every pair of elements with a close pair; empty if the model
// file lacks the distances of its training data.
std::vector<ClosePair> find_close_pairs(const AtomGraph& graph, const ModelMetadata& metadata);

// Counts close pairs over the steps of a run. Tables contain directed pairs.
class CloseCounter {
 public:
  CloseCounter() = default;  // counts nothing
  // Also counts nothing if the file lacks the distances.
  explicit CloseCounter(const ModelMetadata& metadata);

  bool is_on() const { return n_species_ > 0; }
  std::int64_t n_species() const { return n_species_; }
  std::int64_t row(std::int64_t i, std::int64_t j) const { return i * n_species_ + j; }

  // Species in the system; pairs with other species are ignored in update_reach().
  void set_present(const std::vector<bool>& present);

  // Squared distance (Å²) beyond which pairs with a center of this species need not be checked. It
  // decreases as closer pairs are found.
  void update_reach();
  double reach_squared(std::int64_t species) const { return reach_[species]; }

  // Returns whether the pair is closer than in the training data.
  bool add(std::int64_t row, double squared) {
    closest_[row] = std::min(closest_[row], squared);
    if (squared >= limits_[row]) return false;
    ++counts_[row];
    return true;
  }

  // Å²: pairs below `limits` are close; the closest pair is determined up to `horizons`.
  const std::vector<double>& limits() const { return limits_; }
  const std::vector<double>& horizons() const { return horizons_; }
  std::vector<double>& closest() { return closest_; }
  std::vector<std::int64_t>& counts() { return counts_; }
  void clear();

 private:
  std::int64_t n_species_ = 0;
  std::vector<double> limits_, horizons_, closest_, reach_;
  std::vector<std::int64_t> counts_;
  std::vector<bool> present_;
};

}  // namespace ekd
