#include <string>

#include "check.hpp"
#include "pickle.hpp"

using ekd::has_possible_sizes;

namespace {

// A pickle as torch writes it: a module with a text, numbers and a tensor.
const std::string kPickle =
    std::string("\x80\x02", 2) + "c__torch__\nModel\nq" + std::string("\0", 1) + ")\x81}(" +
    std::string("X\4\0\0\0name", 9) + std::string("q\1K\5M\0\1J\0\0\0\1G\0\0\0\0\0\0\0\0", 21) +
    std::string("\x8a\1\5U\3abcT\1\0\0\0x", 14) + std::string("r\2\0\0\0", 5) + "\x85Q.";

}  // namespace

TEST(memo_of_a_sound_pickle) {
  check(has_possible_sizes(kPickle));
  check(has_possible_sizes(""));
}

TEST(memo_with_an_absurd_index) {
  std::string damaged = kPickle;
  damaged[damaged.rfind('r') + 3] = '\x7f';
  check(!has_possible_sizes(damaged));
}

// The byte of the operation may occur in text.
TEST(memo_index_within_a_text) {
  check(has_possible_sizes(std::string("\x80\2X\5\0\0\0r\xff\xff\xff\xff.", 13)));
}

TEST(text_of_an_absurd_length) {
  std::string damaged = kPickle;
  damaged[damaged.find('X') + 4] = '\x7f';
  check(!has_possible_sizes(damaged));
}

// The texts and the lines of the pickle are incomplete in some of them.
TEST(truncated_pickles) {
  int n_refused = 0;
  for (std::size_t n = 0; n < kPickle.size(); ++n)
    n_refused += static_cast<int>(!has_possible_sizes(kPickle.substr(0, n)));
  check(n_refused > 20 && n_refused < static_cast<int>(kPickle.size()));
}
