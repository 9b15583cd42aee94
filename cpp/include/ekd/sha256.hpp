// SHA-256 (FIPS 180-4), which tells whether a file is the one that somebody means.
#pragma once

#include <string>
#include <string_view>

namespace ekd {

// The digest of some bytes in 64 lower-case hexadecimal digits.
std::string sha256(std::string_view content);

// Digits as sha256() writes them. They may be given in upper case.
// Throws Error: `text` is not 64 hexadecimal digits.
std::string parse_sha256(const std::string& text);

}  // namespace ekd
