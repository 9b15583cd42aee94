#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>

#include "check.hpp"
#include "ekd/parallel.hpp"

namespace {

// That every item is taken once, by a thread of those that there are.
void check_once(int n_threads, std::int64_t n_items) {
  std::vector<std::atomic<int>> taken(n_items);
  std::atomic<bool> in_range{true};
  ekd::parallel_for(n_threads, n_items, [&](std::int64_t k, int thread) {
    ++taken[k];
    if (thread < 0 || thread >= std::max(1, n_threads)) in_range = false;
  });
  check(in_range);
  for (const auto& times : taken) check(times == 1);
}

// Exit status of a child that runs act().
template <class Act>
int in_a_child(const Act& act) {
  const pid_t child = fork();
  if (child == 0) {
    int status = 1;
    try {
      act();
      status = 0;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
    _exit(status);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

}  // namespace

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
  check_once(3, 100);  // this thread is outside again
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

TEST(parallel_in_a_child) {
  check_once(3, 100);  // threads that the child does not have
  for (int k = 0; k < 5; ++k) {
    const int status = in_a_child([] {
      check_once(3, 100);
      check(in_a_child([] { check_once(2, 100); }) == 0);
      check_once(3, 100);
    });
    check(status == 0, std::to_string(status));
    check_once(3, 100);
  }
}

TEST(parallel_in_a_child_of_a_busy_process) {
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) ekd::parallel_for(2, 10, [](std::int64_t, int) {});
  });
  int n_failed = 0;
  for (int k = 0; k < 20; ++k) n_failed += in_a_child([] { check_once(2, 100); }) == 0 ? 0 : 1;
  stop = true;
  other.join();
  check(n_failed == 0);
}

TEST(parallel_more_threads_than_items) { check_once(1000000000, 3); }
