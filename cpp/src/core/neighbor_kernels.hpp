// The inner loops of a neighbor list, for the instruction set of the processor.
#pragma once

#include <cstdint>
#include <vector>

#include "periodic_images.hpp"

namespace ekd {

// Images among which neighbors are searched, as separate coordinate arrays.
struct Candidates {
  std::vector<double> x, y, z;
  std::vector<std::int32_t> slots;
  std::int64_t size = 0;

  void reserve(std::int64_t n) {
    if (static_cast<std::int64_t>(slots.size()) >= n + kSlack) return;
    for (std::vector<double>* column : {&x, &y, &z}) column->resize(n + n / 2 + kSlack);
    slots.resize(n + n / 2 + kSlack);
  }
  static constexpr std::int64_t kSlack = PeriodicImages::kSlack;
};

// Appends the images in slots begin .. end - 1; memory must have been reserved.
void append_run(const PeriodicImages& images, std::int64_t begin, std::int64_t end,
                Candidates& candidates);

struct Selection {
  std::int64_t n_neighbors = 0;
  std::int64_t n_overlapping = 0;  // including the center itself
};

// Writes the slots of candidates with overlap <= distance < cutoff to `neighbors`, which must have
// space for all candidates and Candidates::kSlack more.
Selection select_neighbors(const Candidates& candidates, const Point& center, double cutoff,
                           double overlap, std::int32_t* neighbors);

// Output pointers for the pairs of one center.
struct PairRow {
  std::int64_t* centers;
  std::int64_t* neighbors;
  std::int32_t* cell_shifts;
  double* pair_vectors;
};

// Writes the pairs of the center at slot `center` with the images in `neighbors`; `first_atom` is
// added to atom indices.
void write_pairs(const PeriodicImages& images, std::int32_t center, const std::int32_t* neighbors,
                 std::int64_t n_neighbors, std::int64_t first_atom, const PairRow& row);

}  // namespace ekd
