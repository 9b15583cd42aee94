// Shared by the tests of threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "ekd/parallel.hpp"

// Checks that every item is processed exactly once, and that thread numbers are in range.
inline void check_once(int n_threads, std::int64_t n_items) {
  std::vector<std::atomic<int>> taken(n_items);
  std::atomic<bool> in_range{true};
  ekd::parallel_for(n_threads, n_items, [&](std::int64_t k, int thread) {
    ++taken[k];
    if (thread < 0 || thread >= std::max(1, n_threads)) in_range = false;
  });
  check(in_range);
  for (const auto& times : taken) check(times == 1);
}
