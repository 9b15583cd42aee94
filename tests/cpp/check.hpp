// Helpers for the tests of the core.
#pragma once

#include <cstdint>
#include <cstdio>
#include <exception>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// A test is a function that is registered by its name. It fails by throwing an exception.
struct Test {
  Test(const char* name, void (*run)());
};

#define TEST(name)                            \
  static void name();                         \
  static const Test test_##name(#name, name); \
  static void name()

// A source line of a test. It replaces std::source_location, which clang 14 cannot use with the
// standard library of g++ 12.
struct Place {
  const char* file;
  int line;
  static Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

inline void check(bool holds, const std::string& what = "", Place where = Place::here()) {
  if (!holds)
    throw std::logic_error(std::string(where.file) + ":" + std::to_string(where.line) +
                           (what.empty() ? "" : ": " + what));
}

// Checks that act() throws an Error whose message contains the words.
template <class Error, class Act>
void check_throws(const Act& act, std::string_view words = "", Place where = Place::here()) {
  try {
    act();
  } catch (const Error& error) {
    check(std::string_view(error.what()).find(words) != std::string_view::npos,
          std::string("the message is: ") + error.what(), where);
    return;
  }
  check(false, "nothing was thrown", where);
}

// Whether act() returns normally. It may throw an Error; other exceptions propagate.
template <class Error, class Act>
bool succeeds(const Act& act) {
  try {
    act();
    return true;
  } catch (const Error&) {
    return false;
  }
}

// Random numbers that are the same in every run and with every standard library.
class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  // A number from 0 to n - 1.
  std::size_t below(std::size_t n) { return engine_() % n; }

 private:
  std::mt19937 engine_;
};

// Makes a few random changes: bytes are replaced, removed or repeated.
std::string mutated(std::string text, Random& random);

// Writes the content to a file and returns its path. All calls use the same file, which exists only
// in memory because the tests write it tens of thousands of times.
std::string in_memory(std::string_view content);
