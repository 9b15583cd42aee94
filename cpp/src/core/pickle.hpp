// Pickles in TorchScript archives, as torch writes them (protocol 2). No pickle is executed here.
#pragma once

#include <string_view>

namespace ekd {

// Whether the texts of a pickle and the indices of its memo fit into it. torch allocates memory for
// the stated length of a text and for a memo up to the largest index, so damaged numbers could fill
// the memory. An operation that torch does not write ends the check: torch refuses it.
bool has_possible_sizes(std::string_view pickle);

}  // namespace ekd
