// Whether atoms are closer to each other than those of the training data were.
//
// Pairs of elements are rows of tables: that of species i and j is i * n_species + j.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "ekd/model_metadata.hpp"
#include "ekd/network.hpp"

namespace ekd {

// Two atoms that are closer than any of their elements in the training data.
struct ClosePair {
  std::int64_t species[2];
  std::int64_t atoms[2];     // of these species, in this order
  double distance;           // Å
  double training_distance;  // Å, of the training data; infinity: they have no such pair
};

// Of every pair of elements that has one the closest pair of the graph; none where the file of the
// model does not tell the distances of its training data.
std::vector<ClosePair> find_close_pairs(const AtomGraph& graph, const ModelMetadata& metadata);

// Keeps count of close pairs over the steps of a run. Tables are of directed pairs.
class CloseCounter {
 public:
  CloseCounter() = default;  // counts nothing
  // Also counts nothing where the file does not tell the distances.
  explicit CloseCounter(const ModelMetadata& metadata);

  bool is_on() const { return n_species_ > 0; }
  std::int64_t n_species() const { return n_species_; }
  std::int64_t row(std::int64_t i, std::int64_t j) const { return i * n_species_ + j; }

  // Species that the system has: pairs with others are not waited for.
  void set_present(const std::vector<bool>& present);

  // Pairs of a centre of this species that are further apart change nothing, Å². It falls while
  // the closest pairs become known.
  void update_reach();
  double reach_squared(std::int64_t species) const { return reach_[species]; }

  // Returns whether the pair is closer than the training data have it.
  bool add(std::int64_t row, double squared) {
    closest_[row] = std::min(closest_[row], squared);
    if (squared >= limits_[row]) return false;
    ++counts_[row];
    return true;
  }

  // Pairs below this are close, Å²; and up to this the closest is known.
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
