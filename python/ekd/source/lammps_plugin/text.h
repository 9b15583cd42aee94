// Messages for LAMMPS, put together here.
//
// LAMMPS takes patterns and arguments too, but their types are those of {fmt} or of std::format,
// depending on its release and on the C++ standard that it was built with. Finished texts are the
// same for all.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <type_traits>

namespace ekd {
namespace text {

inline std::string of(const std::string& value, const std::string&) { return value; }
inline std::string of(const char* value, const std::string&) { return value; }

template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
std::string of(T value, const std::string& form) {
  if constexpr (std::is_integral_v<T>) {
    return std::to_string(value);
  } else {
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, ("%" + (form.empty() ? "g" : form.substr(1))).c_str(),
                  static_cast<double>(value));
    return buffer;
  }
}

// Everything up to the next field goes to `to`. Returns what is within its braces.
inline std::string next_field(const std::string& pattern, std::size_t& place, std::string& to) {
  const std::size_t open = pattern.find('{', place);
  const std::size_t close = pattern.find('}', open);
  to += pattern.substr(place, open - place);
  place = close + 1;
  return pattern.substr(open + 1, close - open - 1);
}

}  // namespace text

// The arguments in the place of the fields of a pattern: {} for any, {:.3g} and the like for
// numbers. There are as many fields as arguments.
template <class... Arguments>
std::string format(const std::string& pattern, const Arguments&... arguments) {
  std::string result;
  std::size_t place = 0;
  ((result += text::of(arguments, text::next_field(pattern, place, result))), ...);
  return result + pattern.substr(place);
}

}  // namespace ekd
