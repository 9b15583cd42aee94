// Runs all tests, or only those named on the command line.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "check.hpp"

namespace {

std::vector<std::pair<const char*, void (*)()>>& tests() {
  static std::vector<std::pair<const char*, void (*)()>> all;
  return all;
}

}  // namespace

Test::Test(const char* name, void (*run)()) { tests().emplace_back(name, run); }

std::string mutated(std::string text, Random& random) {
  for (std::size_t n = 1 + random.below(4); n > 0 && !text.empty(); --n) {
    const std::size_t at = random.below(text.size());
    switch (random.below(5)) {
      case 0:
        text[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        text[at] = static_cast<char>(text[at] ^ (1 << random.below(8)));
        break;
      case 2:
        text.erase(at, 1 + random.below(8));
        break;
      case 3:
        text.insert(at, text.substr(random.below(text.size()), random.below(12)));
        break;
      default:
        text[at] = "0123456789-.eE\"\\{}[],:"[random.below(22)];
    }
  }
  return text;
}

std::string in_memory(std::string_view content) {
  static const int file = memfd_create("ekd_core_tests", 0);
  check(file >= 0 && ftruncate(file, 0) == 0);
  for (std::size_t done = 0; done < content.size();) {
    const ssize_t n =
        pwrite(file, content.data() + done, content.size() - done, static_cast<off_t>(done));
    check(n > 0);
    done += static_cast<std::size_t>(n);
  }
  return "/proc/self/fd/" + std::to_string(file);
}

int main(int argc, char** argv) {
  int n_failed = 0;
  for (const auto& [name, run] : tests()) {
    if (argc > 1 && std::none_of(argv + 1, argv + argc, [&, name = name](const char* wanted) {
          return std::string_view(wanted) == name;
        }))
      continue;
    try {
      run();
      std::printf("passed %s\n", name);
    } catch (const std::exception& error) {
      std::printf("FAILED %s: %s\n", name, error.what());
      ++n_failed;
    }
    std::fflush(stdout);
  }
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
