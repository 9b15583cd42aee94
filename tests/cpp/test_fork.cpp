// Threads in child processes created by fork(). The tests are built without sanitizers: the
// allocator of AddressSanitizer (g++ 12) does not release its locks in a child process, which then
// waits for a thread that only its parent has.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <exception>
#include <thread>

#include "check_parallel.hpp"

namespace {

// Runs act() in a child process. Returns the status of waitpid(), which is 0 on success.
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

TEST(parallel_in_a_child) {
  check_once(3, 100);  // starts threads, which a child does not inherit
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
