// Formatting of messages for LAMMPS.
//
// LAMMPS also accepts patterns and arguments, but their types are those of {fmt} or std::format,
// depending on its release and on the C++ standard of its build. Formatted text works for all.
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

// Appends everything up to the next field to `to`. Returns the text inside its braces.
inline std::string next_field(const std::string& pattern, std::size_t& place, std::string& to) {
  const std::size_t open = pattern.find('{', place);
  const std::size_t close = pattern.find('}', open);
  to += pattern.substr(place, open - place);
  place = close + 1;
  return pattern.substr(open + 1, close - open - 1);
}

}  // namespace text

// Replaces the fields of a pattern with the arguments: {} for any type, {:.3g} and similar for
// numbers. There must be as many fields as arguments.
template <class... Arguments>
std::string format(const std::string& pattern, const Arguments&... arguments) {
  std::string result;
  std::size_t place = 0;
  ((result += text::of(arguments, text::next_field(pattern, place, result))), ...);
  return result + pattern.substr(place);
}

}  // namespace ekd
