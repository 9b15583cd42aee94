// Runs a target without libFuzzer, on random changes of the files of a corpus.
//
//     fuzz_archive MUTATIONS SEED FILE ...
//
// If an input ends the process, the file "last-input" in the current folder contains it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "input.hpp"

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes read(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Bytes mutated(Bytes bytes, std::mt19937& engine) {
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(engine() % n); };
  for (std::size_t left = 1 + below(4); left > 0 && !bytes.empty(); --left) {
    const std::size_t at = below(bytes.size());
    const std::size_t n = std::min(bytes.size() - at, 1 + below(64));
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (below(8)) {
      case 0:
        bytes[at] ^= static_cast<std::uint8_t>(1U << below(8));
        break;
      case 1:
        bytes[at] = static_cast<std::uint8_t>(below(256));
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.erase(place, place + static_cast<std::ptrdiff_t>(n));
        break;
      case 4: {
        const Bytes again(place, place + static_cast<std::ptrdiff_t>(n));
        bytes.insert(place, again.begin(), again.end());
        break;
      }
      case 5:
        std::fill_n(place, n, below(2) == 0 ? 0x00 : 0xff);
        break;
      case 6:  // replaces a digit, which changes a number in JSON
        for (std::size_t k = at; k < bytes.size(); ++k)
          if (bytes[k] >= '0' && bytes[k] <= '9') {
            bytes[k] = static_cast<std::uint8_t>('0' + below(10));
            break;
          }
        break;
      default:
        std::swap(bytes[at], bytes[below(bytes.size())]);
    }
  }
  return bytes;
}

}  // namespace

int main(int n_arguments, char** arguments) {
  if (n_arguments < 4) {
    std::fprintf(stderr, "usage: %s MUTATIONS SEED FILE ...\n", arguments[0]);
    return 2;
  }
  std::vector<Bytes> corpus;
  for (int k = 3; k < n_arguments; ++k) {
    corpus.push_back(read(arguments[k]));
    LLVMFuzzerTestOneInput(corpus.back().data(), corpus.back().size());
  }
  std::mt19937 engine(static_cast<std::uint32_t>(std::atol(arguments[2])));
  const long n = std::atol(arguments[1]);
  for (long k = 0; k < n; ++k) {
    const Bytes input = mutated(corpus[engine() % corpus.size()], engine);
    std::ofstream("last-input", std::ios::binary)
        .write(reinterpret_cast<const char*>(input.data()),
               static_cast<std::streamsize>(input.size()));
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("done %ld\n", n);
  return 0;
}
