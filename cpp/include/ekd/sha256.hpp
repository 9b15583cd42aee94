// SHA-256 (FIPS 180-4), which identifies files.
#pragma once

#include <string>
#include <string_view>

namespace ekd {

// The digest of bytes as 64 lower-case hexadecimal digits.
std::string sha256(std::string_view content);

// Converts `text` to the form of sha256(); upper case is accepted.
// Throws Error: `text` is not 64 hexadecimal digits.
std::string parse_sha256(const std::string& text);

}  // namespace ekd
