#include "ekd/parallel.hpp"

#include <pthread.h>

#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ekd {
namespace {

// In MD, the next call comes within microseconds: spinning that long costs less than waking up.
constexpr int kLooks = 4000;

void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Whether this thread is executing a call: nested calls stay on this thread.
thread_local bool is_inside = false;

// A thread that waits for work and executes it, until the process ends.
class Worker {
 public:
  explicit Worker(int number) : thread_([this, number] { serve(number); }) {}

  void begin(const std::function<void(int)>& work) {
    work_ = &work;
    // Sequentially consistent: notify_one of libstdc++ checks for waiting threads, and must not do
    // so before the store is visible. A thread that is about to wait would sleep forever.
    state_.store(kBusy);
    state_.notify_one();
  }

  bool is_busy() const { return state_.load(std::memory_order_acquire) == kBusy; }

 private:
  enum State : int { kIdle, kBusy };

  [[noreturn]] void serve(int number) {
    is_inside = true;
    while (true) {
      for (int look = 0; look < kLooks && !is_busy(); ++look) pause_briefly();
      state_.wait(kIdle, std::memory_order_acquire);
      (*work_)(number);
      state_.store(kIdle, std::memory_order_release);
    }
  }

  const std::function<void(int)>* work_ = nullptr;
  std::atomic<int> state_{kIdle};
  std::thread thread_;  // last: it uses the other members
};

class ThreadPool {
 public:
  void run(int n_threads, const std::function<void(int)>& work) {
    const std::unique_lock owner(owner_, std::try_to_lock);
    if (!owner.owns_lock()) return work(0);
    while (static_cast<int>(workers_.size()) < n_threads - 1) {
      try {
        workers_.push_back(std::make_unique<Worker>(static_cast<int>(workers_.size()) + 1));
      } catch (const std::system_error&) {
        break;  // no more threads available: use the existing ones
      }
    }
    const auto n_workers = std::min<std::size_t>(n_threads - 1, workers_.size());
    for (std::size_t k = 0; k < n_workers; ++k) workers_[k]->begin(work);
    is_inside = true;
    work(0);
    is_inside = false;
    for (std::size_t k = 0; k < n_workers; ++k) {
      for (int look = 0; workers_[k]->is_busy(); ++look) {
        if (look < kLooks)
          pause_briefly();
        else
          std::this_thread::yield();
      }
    }
  }

 private:
  std::mutex owner_;  // held during a call
  std::vector<std::unique_ptr<Worker>> workers_;
};

// Never destroyed: its threads wait until the process ends. A child of fork() has none of them, and
// creates its own pool.
std::atomic<ThreadPool*> pool{nullptr};

// Registered when the library is loaded, not at the first call: after a fork in the middle of that,
// the child would wait forever.
[[maybe_unused]] const int registered =
    pthread_atfork(nullptr, nullptr, [] { pool.store(nullptr); });

ThreadPool& the_pool() {
  ThreadPool* found = pool.load(std::memory_order_acquire);
  if (found != nullptr) return *found;
  auto made = std::make_unique<ThreadPool>();
  if (pool.compare_exchange_strong(found, made.get())) return *made.release();
  return *found;
}

}  // namespace

void run_on_threads(int n_threads, const std::function<void(int)>& work) {
  if (n_threads <= 1 || is_inside) return work(0);
  the_pool().run(n_threads, work);
}

}  // namespace ekd
