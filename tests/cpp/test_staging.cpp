// Copies of arrays to a device and back. The host twin copies as late as it may, so a piece that is
// filled or read too early gives wrong numbers.
#include <numeric>
#include <vector>

#include "check.hpp"
#include "staging.hpp"

namespace {

using namespace ekd::device;

// Larger than all pieces together, and not a multiple of the size of a piece.
constexpr std::size_t kMany = (std::size_t(5) << 20) / sizeof(double) + 77;

std::vector<double> numbers(std::size_t n, double first) {
  std::vector<double> made(n);
  std::iota(made.begin(), made.end(), first);
  return made;
}

}  // namespace

TEST(staging_there_and_back) {
  const std::shared_ptr<Device> on = make_host_device();
  Staging staging(on);
  for (const std::size_t n : {std::size_t(0), std::size_t(1), std::size_t(131072), kMany}) {
    Array<double> there(on);
    double* const memory = there.reserve(n);
    const std::vector<double> sent = numbers(n, 3.0);
    staging.upload(memory, sent.data(), n);
    std::vector<double> found(n, -1.0);
    staging.download(found.data(), memory, n);
    check(found == sent);
  }
}

// Several arrays are sent one after the other, without waiting in between.
TEST(staging_of_several) {
  const std::shared_ptr<Device> on = make_host_device();
  Staging staging(on);
  std::vector<std::unique_ptr<Array<double>>> there;
  for (int k = 0; k < 7; ++k) {
    there.push_back(std::make_unique<Array<double>>(on));
    std::vector<double> sent = numbers(1000 * (k + 1), 1e6 * k);
    staging.upload(there[k]->reserve(sent.size()), sent.data(), sent.size());
    sent.assign(sent.size(), -1.0);  // the caller may reuse its memory
  }
  for (int k = 6; k >= 0; --k) {
    std::vector<double> found(1000 * (k + 1));
    staging.download(found.data(), there[k]->data(), found.size());
    check(found == numbers(found.size(), 1e6 * k));
  }
}

TEST(staging_in_order) {
  const std::shared_ptr<Device> on = make_host_device();
  Staging staging(on);
  Array<int> there(on);
  int* const memory = there.reserve(1000);
  std::vector<std::size_t> firsts;
  staging.upload(
      memory, 1000,
      [&](std::size_t first, std::size_t n, int* piece) {
        firsts.push_back(first);
        for (std::size_t k = 0; k < n; ++k) piece[k] = static_cast<int>(first + k);
      },
      300);
  check(firsts == std::vector<std::size_t>({0, 300, 600, 900}));
  std::size_t read = 0;
  staging.download(memory, 1000, [&](std::size_t first, std::size_t n, const int* piece) {
    check(first == read);
    for (std::size_t k = 0; k < n; ++k) check(piece[k] == static_cast<int>(first + k));
    read += n;
  });
  check(read == 1000);
}

// The tests above rely on this.
TEST(twin_copies_late) {
  const std::shared_ptr<Device> on = make_host_device();
  Array<double> there(on);
  double* const memory = there.reserve_cleared(1);
  auto* const here = static_cast<double*>(on->allocate_host(sizeof(double)));
  *here = 1.0;
  const std::unique_ptr<Mark> mark = on->make_mark();
  on->send(memory, here, sizeof(double));
  mark->set();
  *here = 2.0;  // too early, before the mark is reached
  mark->wait();
  double found = 0.0;
  there.get(&found, 1);
  check(found == 2.0);
  on->release_host(here);
}
