#include "ekd/pair_offsets.hpp"

#include <string>

#include "ekd/error.hpp"

namespace ekd {

std::vector<std::int64_t> offsets_of(const std::int64_t* centers, const std::int64_t* neighbors,
                                     std::int64_t n_pairs, std::int64_t n_atoms) {
  std::vector<std::int64_t> offsets(n_atoms + 1, n_pairs);
  std::int64_t due = 0;  // next atom whose pairs begin
  for (std::int64_t p = 0; p < n_pairs; ++p) {
    const std::int64_t i = centers[p];
    if (i < due - 1 || i < 0 || i >= n_atoms)
      throw StructureError("pairs must be sorted by center, with centers from 0 to " +
                           std::to_string(n_atoms - 1) + "; found center " + std::to_string(i) +
                           " at pair " + std::to_string(p) + " [EKD-STRUCTURE-005]");
    if (neighbors[p] < 0 || neighbors[p] >= n_atoms)
      throw StructureError("neighbors of pairs must be from 0 to " + std::to_string(n_atoms - 1) +
                           "; found " + std::to_string(neighbors[p]) + " at pair " +
                           std::to_string(p) + " [EKD-STRUCTURE-005]");
    while (due <= i) offsets[due++] = p;
  }
  return offsets;
}

}  // namespace ekd
