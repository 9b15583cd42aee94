#include "kernel_cache.hpp"

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace ekd::device {
namespace {

namespace fs = std::filesystem;

constexpr char kMagic[] = "ekd kernels 1\n";

// FNV-1a.
std::uint64_t checksum(const std::string& text) {
  std::uint64_t sum = 14695981039346656037ull;
  for (const char c : text) sum = (sum ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return sum;
}

fs::path folder() {
  const auto value = [](const char* name) {
    const char* const found = std::getenv(name);
    return found == nullptr ? std::string() : std::string(found);
  };
  if (std::string named = value("EKD_CACHE"); !named.empty()) return named;
  if (const std::string cache = value("XDG_CACHE_HOME"); !cache.empty())
    return fs::path(cache) / "ekd";
  if (const std::string home = value("HOME"); !home.empty()) return fs::path(home) / ".cache/ekd";
  return {};
}

fs::path place_of(const std::string& key) {
  const fs::path in = folder();
  if (in.empty()) return {};
  return in / ("kernels-" + std::to_string(checksum(key)) + ".bin");
}

std::string header(const std::string& key, const std::string& program) {
  return kMagic + key + '\0' + std::to_string(checksum(program)) + '\0';
}

}  // namespace

std::optional<std::string> find_kept_program(const std::string& key) {
  const fs::path place = place_of(key);
  if (place.empty()) return std::nullopt;
  std::ifstream file(place, std::ios::binary);
  if (!file) return std::nullopt;
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  // The file name is a checksum, which may be the same for another key.
  const std::string start = kMagic + key + '\0';
  if (content.compare(0, start.size(), start) != 0) return std::nullopt;
  const std::size_t end = content.find('\0', start.size());
  if (end == std::string::npos) return std::nullopt;
  std::string program = content.substr(end + 1);
  if (header(key, program) != content.substr(0, end + 1)) return std::nullopt;
  return program;
}

void keep_program(const std::string& key, const std::string& program) {
  const fs::path place = place_of(key);
  if (place.empty()) return;
  std::error_code ignored;
  fs::create_directories(place.parent_path(), ignored);
  // Other processes may do the same at the same time.
  const fs::path unfinished = place.string() + "." + std::to_string(getpid());
  {
    std::ofstream file(unfinished, std::ios::binary);
    file << header(key, program) << program;
    file.flush();
    if (!file) {
      file.close();
      fs::remove(unfinished, ignored);
      return;
    }
  }
  fs::rename(unfinished, place, ignored);
}

}  // namespace ekd::device
