// Threads for the core. No OpenMP: torch and LAMMPS each bring a runtime of their own, and the core
// is linked into both.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

namespace ekd {

// Calls body(k, thread) for k = 0 .. n_items - 1, each once, on up to n_threads threads, which are
// counted from 0; the calling thread is one of them. All items together should take far longer
// than a thread takes to start (some 20 µs).
// Throws what the first item, in order, has thrown: the same for any number of threads.
template <class Body>
void parallel_for(int n_threads, std::int64_t n_items, const Body& body) {
  std::atomic<std::int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  std::int64_t failed = std::numeric_limits<std::int64_t>::max();
  const auto work = [&](int thread) {
    for (std::int64_t k; (k = next.fetch_add(1)) < n_items;) {
      try {
        body(k, thread);
      } catch (...) {
        next = n_items;  // the items before this one have begun already
        const std::lock_guard lock(mutex);
        if (k < failed) {
          failed = k;
          error = std::current_exception();
        }
      }
    }
  };
  std::vector<std::thread> threads;
  const auto last = static_cast<int>(std::min<std::int64_t>(n_threads, n_items) - 1);
  try {
    for (int thread = 1; thread <= last; ++thread) threads.emplace_back(work, thread);
  } catch (const std::exception&) {
    // The system grants no more threads: those that there are do the work.
  }
  work(0);
  for (std::thread& thread : threads) thread.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace ekd
