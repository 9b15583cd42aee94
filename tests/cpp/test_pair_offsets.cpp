#include <limits>

#include "check.hpp"
#include "ekd/error.hpp"
#include "ekd/pair_offsets.hpp"

namespace {

using Integers = std::vector<std::int64_t>;

Integers offsets(const Integers& centers, const Integers& neighbors, std::int64_t n_atoms) {
  return ekd::offsets_of(centers.data(), neighbors.data(), std::ssize(centers), n_atoms);
}

void refuse(const Integers& centers, const Integers& neighbors, std::int64_t n_atoms,
            std::string_view words, Place where = Place::here()) {
  check_throws<ekd::StructureError>([&] { offsets(centers, neighbors, n_atoms); }, words, where);
}

constexpr auto kLeast = std::numeric_limits<std::int64_t>::min();
constexpr auto kMost = std::numeric_limits<std::int64_t>::max();

}  // namespace

TEST(pair_offsets_of_sorted_pairs) {
  check(offsets({0, 0, 2}, {1, 2, 0}, 3) == Integers({0, 2, 2, 3}));
  check(offsets({1}, {1}, 4) == Integers({0, 0, 1, 1, 1}));
  check(offsets({}, {}, 2) == Integers({0, 0, 0}));
  check(offsets({}, {}, 0) == Integers({0}));
  check(offsets({3, 3}, {0, 1}, 4) == Integers({0, 0, 0, 0, 2}));
}

TEST(pair_offsets_out_of_order_or_range) {
  refuse({0, 2, 1}, {0, 0, 0}, 3, "center 1 at pair 2");
  refuse({2, 0}, {0, 0}, 3, "center 0 at pair 1");
  refuse({1, 0}, {0, 0}, 3, "center 0 at pair 1");
  for (const std::int64_t wrong : {std::int64_t{-1}, std::int64_t{3}, kLeast, kMost}) {
    refuse({wrong}, {0}, 3, "found center");
    refuse({0, wrong}, {0, 0}, 3, "found center");
    refuse({0}, {wrong}, 3, "neighbors of pairs must be from 0 to 2");
  }
  refuse({0}, {0}, 0, "found center 0");
}

TEST(pair_offsets_mutated) {
  Random random(5);
  for (int k = 0; k < 20000; ++k) {
    const auto n_atoms = static_cast<std::int64_t>(random.below(5));
    Integers centers(random.below(6)), neighbors(centers.size());
    for (std::int64_t& center : centers) center = static_cast<std::int64_t>(random.below(6)) - 1;
    for (std::int64_t& other : neighbors) other = static_cast<std::int64_t>(random.below(6)) - 1;
    bool sound = true;
    for (std::size_t p = 0; p < centers.size(); ++p)
      sound = sound && centers[p] >= 0 && centers[p] < n_atoms && neighbors[p] >= 0 &&
              neighbors[p] < n_atoms && (p == 0 || centers[p] >= centers[p - 1]);
    Integers found;
    const bool accepted =
        succeeds<ekd::StructureError>([&] { found = offsets(centers, neighbors, n_atoms); });
    check(accepted == sound);
    if (!accepted) continue;
    for (std::int64_t i = 0; i < n_atoms; ++i)
      for (std::int64_t p = found[i]; p < found[i + 1]; ++p) check(centers[p] == i);
    check(found.front() == 0 && found.back() == std::ssize(centers));
  }
}
