// Pairs of a caller, checked before memory is read by their indices.
#pragma once

#include <cstdint>
#include <vector>

namespace ekd {

// Where the pairs of each centre begin, [n_atoms + 1], of pairs sorted by centre.
// Throws StructureError: they are out of order or range.
std::vector<std::int64_t> offsets_of(const std::int64_t* centers, const std::int64_t* neighbors,
                                     std::int64_t n_pairs, std::int64_t n_atoms);

}  // namespace ekd
