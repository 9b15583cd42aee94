#include "ekd/sha256.hpp"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "ekd/error.hpp"

namespace ekd {
namespace {

constexpr std::size_t kBlock = 64;  // bytes

// Fractional parts of the cube roots of the first 64 primes (section 4.2.2).
constexpr std::array<std::uint32_t, 64> kConstants{
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

using State = std::array<std::uint32_t, 8>;

// Section 6.2.2.
void add_block(State& state, const char* block) {
  std::array<std::uint32_t, 64> words;
  for (std::size_t t = 0; t < 16; ++t) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(block + 4 * t);
    words[t] = std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
               std::uint32_t{bytes[2]} << 8 | std::uint32_t{bytes[3]};
  }
  for (std::size_t t = 16; t < 64; ++t) {
    const std::uint32_t near = words[t - 2], far = words[t - 15];
    const std::uint32_t s1 = std::rotr(near, 17) ^ std::rotr(near, 19) ^ near >> 10;
    const std::uint32_t s0 = std::rotr(far, 7) ^ std::rotr(far, 18) ^ far >> 3;
    words[t] = s1 + words[t - 7] + s0 + words[t - 16];
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (std::size_t t = 0; t < 64; ++t) {
    const std::uint32_t s1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const std::uint32_t s0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const std::uint32_t first = h + s1 + ((e & f) ^ (~e & g)) + kConstants[t] + words[t];
    const std::uint32_t second = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + first;
    d = c;
    c = b;
    b = a;
    a = first + second;
  }
  const State added{a, b, c, d, e, f, g, h};
  for (std::size_t k = 0; k < state.size(); ++k) state[k] += added[k];
}

}  // namespace

std::string sha256(std::string_view content) {
  State state{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
              0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  const std::size_t n_whole = content.size() / kBlock;
  for (std::size_t k = 0; k < n_whole; ++k) add_block(state, content.data() + kBlock * k);
  // The remaining bytes, a one bit, zeros, and the number of bits: one or two blocks.
  std::array<char, 2 * kBlock> end{};
  const std::size_t n_left = content.size() % kBlock;
  if (n_left > 0) std::memcpy(end.data(), content.data() + kBlock * n_whole, n_left);
  end[n_left] = static_cast<char>(0x80);
  const std::size_t size = n_left + 9 <= kBlock ? kBlock : 2 * kBlock;
  const std::uint64_t n_bits = std::uint64_t{8} * content.size();
  for (std::size_t k = 0; k < 8; ++k) end[size - 1 - k] = static_cast<char>(n_bits >> 8 * k);
  for (std::size_t at = 0; at < size; at += kBlock) add_block(state, end.data() + at);

  std::string digits;
  for (const std::uint32_t word : state)
    for (int shift = 28; shift >= 0; shift -= 4)
      digits.push_back("0123456789abcdef"[word >> shift & 0xf]);
  return digits;
}

std::string parse_sha256(const std::string& text) {
  std::string digits = text;
  bool is_sound = digits.size() == 64;
  for (char& digit : digits) {
    if (digit >= 'A' && digit <= 'F') digit = static_cast<char>(digit - 'A' + 'a');
    is_sound = is_sound && ((digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f'));
  }
  if (!is_sound)
    throw Error("the expected SHA-256 is '" + text +
                "'; give 64 hexadecimal digits, as 'ekd inspect' and 'sha256sum' print them "
                "[EKD-MODEL-011]");
  return digits;
}

}  // namespace ekd
