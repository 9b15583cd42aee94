#include "pickle.hpp"

#include <cstdint>

namespace ekd {
namespace {

// Reads the little-endian number of n bytes at the beginning of `text`.
std::uint64_t number(std::string_view text, std::size_t n) {
  std::uint64_t value = 0;
  for (std::size_t k = n; k-- > 0;) value = value << 8 | static_cast<unsigned char>(text[k]);
  return value;
}

// Number of bytes of the arguments of an operation; larger than `rest` if they are not complete.
std::size_t size_of_arguments(char operation, std::string_view rest) {
  const auto counted = [rest](std::size_t n) {  // text after its length, which takes n bytes
    return rest.size() < n ? n : n + static_cast<std::size_t>(number(rest, n));
  };
  switch (operation) {
    case 'K':     // BININT1
    case 'q':     // BINPUT
    case 'h':     // BINGET
    case '\x80':  // PROTO
      return 1;
    case 'M':  // BININT2
      return 2;
    case 'J':  // BININT
    case 'r':  // LONG_BINPUT
    case 'j':  // LONG_BINGET
      return 4;
    case 'G':  // BINFLOAT
      return 8;
    case 'U':     // SHORT_BINSTRING
    case '\x8a':  // LONG1
      return counted(1);
    case 'X':  // BINUNICODE
    case 'T':  // BINSTRING
      return counted(4);
    case 'c': {  // GLOBAL: two lines
      const std::size_t first = rest.find('\n');
      if (first == std::string_view::npos) return rest.size() + 1;
      const std::size_t second = rest.find('\n', first + 1);
      return second == std::string_view::npos ? rest.size() + 1 : second + 1;
    }
    default:
      return 0;
  }
}

}  // namespace

bool has_possible_sizes(std::string_view pickle) {
  constexpr std::string_view kOperations =
      "KqhMJrjGUXTc\x80\x8a()]}N\x81\x85\x86\x87\x88\x89tlRbeausQ0.";
  std::size_t at = 0;
  while (at < pickle.size()) {
    const char operation = pickle[at++];
    if (kOperations.find(operation) == std::string_view::npos || operation == '.') return true;
    const std::string_view rest = pickle.substr(at);
    const std::size_t n = size_of_arguments(operation, rest);
    if (n > rest.size()) return false;
    if (operation == 'r' && number(rest, n) > pickle.size()) return false;
    at += n;
  }
  return true;
}

}  // namespace ekd
