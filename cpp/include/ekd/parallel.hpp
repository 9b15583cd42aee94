// Threads for the core. It does not use OpenMP, because torch and LAMMPS may use different OpenMP
// runtimes, and the core is linked into both.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <mutex>

namespace ekd {

// Calls work(thread) on up to n_threads threads, numbered from 0; the calling thread is number 0.
// Threads are started once and wait for the next call. Nested calls, and calls while another thread
// of the program is using the threads, use only the calling thread. `work` must not throw.
void run_on_threads(int n_threads, const std::function<void(int)>& work);

// Calls body(k, thread) for k = 0 .. n_items - 1, each once, on up to n_threads threads.
// Rethrows the exception of the first failing item in order, for any number of threads.
template <class Body>
void parallel_for(int n_threads, std::int64_t n_items, const Body& body) {
  if (n_threads <= 1 || n_items <= 1) {
    for (std::int64_t k = 0; k < n_items; ++k) body(k, 0);
    return;
  }
  std::atomic<std::int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  std::int64_t failed = std::numeric_limits<std::int64_t>::max();
  const auto work = [&](int thread) {
    for (std::int64_t k; (k = next.fetch_add(1)) < n_items;) {
      try {
        body(k, thread);
      } catch (...) {
        next = n_items;  // all earlier items have already been started
        const std::lock_guard lock(mutex);
        if (k < failed) {
          failed = k;
          error = std::current_exception();
        }
      }
    }
  };
  run_on_threads(static_cast<int>(std::min<std::int64_t>(n_threads, n_items)), std::cref(work));
  if (error) std::rethrow_exception(error);
}

// Calls body(begin, end) for ranges of `size` numbers in first .. end - 1.
template <class Body>
void parallel_ranges(int n_threads, std::int64_t first, std::int64_t end, std::int64_t size,
                     const Body& body) {
  parallel_for(n_threads, (end - first + size - 1) / size, [&](std::int64_t k, int) {
    const std::int64_t begin = first + k * size;
    body(begin, std::min(begin + size, end));
  });
}

}  // namespace ekd
