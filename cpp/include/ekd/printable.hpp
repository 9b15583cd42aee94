// Words of a file, in a message.
#pragma once

#include <string>
#include <string_view>

namespace ekd {

// What a file holds as text, as a message may have it: printable ASCII and no more than a line. A
// damaged file could otherwise write to a terminal as it likes.
std::string printable(std::string_view text);

}  // namespace ekd
