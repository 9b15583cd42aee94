#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "check.hpp"
#include "kernel_cache.hpp"

namespace {

namespace fs = std::filesystem;
using ekd::device::find_kept_program;
using ekd::device::keep_program;

// A folder for the cache, which EKD_CACHE names as long as the object exists.
struct CacheFolder {
  fs::path path =
      fs::temp_directory_path() / ("ekd_cache_" + std::to_string(std::random_device()()));
  CacheFolder() { setenv("EKD_CACHE", path.c_str(), 1); }
  ~CacheFolder() {
    unsetenv("EKD_CACHE");
    fs::remove_all(path);
  }
};

std::string program() {
  std::string bytes;
  for (int k = 0; k < 1000; ++k) bytes += static_cast<char>(k % 256);
  return bytes;
}

}  // namespace

TEST(kept_programs_are_found_again) {
  const CacheFolder folder;
  check(!find_kept_program("sm_90 float"));
  keep_program("sm_90 float", program());
  check(find_kept_program("sm_90 float") == program());
  check(!find_kept_program("sm_90 double"));
  check(std::distance(fs::directory_iterator(folder.path), {}) == 1, "an unfinished file is left");
}

TEST(damaged_programs_are_not_used) {
  const CacheFolder folder;
  keep_program("key", program());
  const fs::path file = fs::directory_iterator(folder.path)->path();
  const auto size = static_cast<std::int64_t>(fs::file_size(file));
  for (std::int64_t place = 0; place < size; place += 7) {
    std::fstream changed(file, std::ios::in | std::ios::out | std::ios::binary);
    changed.seekg(place);
    const char byte = static_cast<char>(changed.get());
    changed.seekp(place);
    changed.put(static_cast<char>(byte ^ 1));
    changed.close();
    check(!find_kept_program("key"), "byte " + std::to_string(place));
    changed.open(file, std::ios::in | std::ios::out | std::ios::binary);
    changed.seekp(place);
    changed.put(byte);
  }
  check(find_kept_program("key") == program());
  for (const std::int64_t rest : {std::int64_t(0), std::int64_t(5), size - 1}) {
    fs::resize_file(file, rest);
    check(!find_kept_program("key"), "of length " + std::to_string(rest));
  }
}

TEST(a_cache_that_cannot_be_written_is_none) {
  setenv("EKD_CACHE", "/proc/no/such/folder", 1);
  keep_program("key", program());
  check(!find_kept_program("key"));
  unsetenv("EKD_CACHE");
}
