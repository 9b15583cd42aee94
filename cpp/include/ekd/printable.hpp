// Text of files in messages.
#pragma once

#include <string>
#include <string_view>

namespace ekd {

// Reduces text of a file to one line of printable ASCII for messages. Otherwise, a damaged file
// could send control sequences to a terminal.
std::string printable(std::string_view text);

}  // namespace ekd
