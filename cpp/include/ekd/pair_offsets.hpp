// Checks of pairs from a caller, before their indices are used.
#pragma once

#include <cstdint>
#include <vector>

namespace ekd {

// First pair of each center, [n_atoms + 1], for pairs sorted by center.
// Throws StructureError: the pairs are not sorted, or indices are out of range.
std::vector<std::int64_t> offsets_of(const std::int64_t* centers, const std::int64_t* neighbors,
                                     std::int64_t n_pairs, std::int64_t n_atoms);

}  // namespace ekd
