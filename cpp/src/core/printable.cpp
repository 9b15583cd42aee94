#include "ekd/printable.hpp"

namespace ekd {

std::string printable(std::string_view text) {
  constexpr std::size_t kMost = 120;
  std::string shown;
  for (const char c : text.substr(0, kMost)) shown.push_back(c >= ' ' && c <= '~' ? c : '?');
  return text.size() > kMost ? shown + "..." : shown;
}

}  // namespace ekd
