#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>

#include "check.hpp"
#include "check_parallel.hpp"
#include "ekd/parallel.hpp"

TEST(parallel_items_are_taken_once) {
  for (const int n_threads : {-1, 0, 1, 2, 3, 8})
    for (const std::int64_t n_items : {0, 1, 2, 7, 1000}) check_once(n_threads, n_items);
  ekd::parallel_for(4, -3, [](std::int64_t, int) { check(false); });
}

TEST(parallel_ranges_cover_all) {
  for (const std::int64_t n : {0, 1, 9, 10, 11, 1000}) {
    std::vector<std::atomic<int>> taken(n + 5);
    ekd::parallel_ranges(3, 5, n + 5, 10, [&](std::int64_t begin, std::int64_t end) {
      check(begin < end && end - begin <= 10);
      for (std::int64_t k = begin; k < end; ++k) ++taken[k];
    });
    for (std::int64_t k = 0; k < n + 5; ++k) check(taken[k] == (k < 5 ? 0 : 1));
  }
}

TEST(parallel_threads_have_numbers_of_their_own) {
  std::vector<std::atomic<int>> busy(4);
  ekd::parallel_for(4, 2000, [&](std::int64_t, int thread) {
    check(busy[thread]++ == 0);
    std::this_thread::yield();
    --busy[thread];
  });
}

TEST(parallel_many_calls) {
  std::int64_t sum = 0;
  for (int call = 0; call < 2000; ++call) {
    std::atomic<std::int64_t> found{0};
    ekd::parallel_for(1 + call % 4, 5, [&](std::int64_t k, int) { found += k; });
    sum += found;
  }
  check(sum == 20000);
}

TEST(parallel_after_the_threads_went_to_sleep) {
  for (int call = 0; call < 20; ++call) {
    std::this_thread::sleep_for(std::chrono::milliseconds(call % 5));
    check_once(3, 10);
  }
}

TEST(parallel_nested_calls) {
  std::atomic<int> n{0};
  ekd::parallel_for(3, 20, [&](std::int64_t, int) {
    ekd::parallel_for(3, 20, [&](std::int64_t, int thread) {
      check(thread == 0);
      ekd::parallel_for(2, 2, [&](std::int64_t, int) { ++n; });
    });
  });
  check(n == 800);
  check_once(3, 100);  // the calling thread is no longer in a nested call
}

TEST(parallel_throws_what_the_first_item_threw) {
  for (const int n_threads : {1, 2, 4})
    for (int call = 0; call < 200; ++call) {
      std::vector<std::atomic<int>> taken(100);
      const auto run = [&] {
        ekd::parallel_for(n_threads, 100, [&](std::int64_t k, int) {
          ++taken[k];
          if (k % 10 == 3) throw std::runtime_error("item " + std::to_string(k));
        });
      };
      check_throws<std::runtime_error>(run, "item 3");
      for (int k = 0; k <= 3; ++k) check(taken[k] == 1);
    }
  int caught = 0;
  try {
    ekd::parallel_for(2, 2, [](std::int64_t, int) { throw 5; });
  } catch (int number) {
    caught = number;
  }
  check(caught == 5);
}

TEST(parallel_nested_calls_that_throw) {
  const auto run = [] {
    ekd::parallel_for(3, 9, [&](std::int64_t k, int) {
      ekd::parallel_for(3, 9, [&](std::int64_t inner, int) {
        if (k == 4 && inner == 2) throw std::runtime_error("inner");
      });
    });
  };
  check_throws<std::runtime_error>(run, "inner");
  check_once(3, 100);
}

TEST(parallel_calls_of_several_threads_at_once) {
  std::atomic<std::int64_t> sum{0};
  std::vector<std::thread> threads;
  for (int k = 0; k < 4; ++k)
    threads.emplace_back([&] {
      for (int call = 0; call < 500; ++call)
        ekd::parallel_for(3, 10, [&](std::int64_t item, int) { sum += item; });
    });
  for (std::thread& thread : threads) thread.join();
  check(sum == 4 * 500 * 45);
}

TEST(parallel_more_threads_than_items) { check_once(1000000000, 3); }
