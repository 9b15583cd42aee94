// What the tests of the core are written with.
#pragma once

#include <cstdint>
#include <cstdio>
#include <exception>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// A test is a function that registers itself by name, and fails by throwing.
struct Test {
  Test(const char* name, void (*run)());
};

#define TEST(name)                            \
  static void name();                         \
  static const Test test_##name(#name, name); \
  static void name()

// A line of a test; std::source_location, which clang 14 cannot have with the library of g++ 12.
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

// That act() throws an Error, whose message contains some words.
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

// Whether act() returns; it may throw an Error instead, and nothing else.
template <class Error, class Act>
bool succeeds(const Act& act) {
  try {
    act();
    return true;
  } catch (const Error&) {
    return false;
  }
}

// The same numbers in every run and with every library.
class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  // From 0 to n - 1.
  std::size_t below(std::size_t n) { return engine_() % n; }

 private:
  std::mt19937 engine_;
};

// A few random changes: bytes that become others, are left out, or are doubled.
std::string mutated(std::string text, Random& random);

// The path of a file with this content. There is one such file, which lies in no file system: tests
// write it some ten thousand times.
std::string in_memory(std::string_view content);
