// Shared by the libFuzzer targets. There is one target per reader. A reader accepts its input or
// refuses it with an error; anything else is a finding.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

// Entry point of a target, called by libFuzzer and by random_driver.cpp.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

// A file in memory with the given content. It exists as long as the object does.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view content) : descriptor_(memfd_create("ekd-fuzz", 0)) {
    while (!content.empty()) {
      const ssize_t n = write(descriptor_, content.data(), content.size());
      if (n <= 0) std::abort();
      content.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Prints a finding and aborts if the condition does not hold.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "finding: %s\n", what);
  std::abort();
}

// Corrects the checksums of the records of a zip file, so that readers do not refuse every changed
// record at once.
inline void repair_checksums(std::string& bytes) {
  const auto number = [&](std::size_t at, std::size_t width) {
    std::uint64_t value = 0;
    if (at <= bytes.size() && width <= bytes.size() - at) std::memcpy(&value, &bytes[at], width);
    return value;
  };
  for (std::size_t at = bytes.find("PK\1\2"); at != std::string::npos;
       at = bytes.find("PK\1\2", at + 1)) {
    const std::uint64_t size = number(at + 24, 4), place = number(at + 42, 4);
    const std::uint64_t begin = place + 30 + number(place + 26, 2) + number(place + 28, 2);
    if (at + 46 > bytes.size() || begin > bytes.size() || size > bytes.size() - begin) continue;
    std::uint32_t sum = 0xffffffff;
    for (std::uint64_t k = begin; k < begin + size; ++k) {
      sum ^= static_cast<unsigned char>(bytes[k]);
      for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ ((sum & 1) != 0 ? 0xedb88320U : 0U);
    }
    sum = ~sum;
    std::memcpy(&bytes[at + 16], &sum, 4);
  }
}
