#include <cmath>
#include <vector>

#include "ekd.h"
#include "input.hpp"

// Opens a model file with the C interface, which runs its self-test. An accepted model is then
// evaluated: it must return finite numbers or refuse the structure.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes(text_of(data, size));
  if (size % 2 == 0) repair_checksums(bytes);
  const MemoryFile file(bytes);
  ekd_options options{};
  options.size = sizeof options;
  ekd_model* model = nullptr;
  const int code = ekd_open(file.path().c_str(), &options, &model);
  require(code == EKD_OK || code == EKD_ERROR_FILE || code == EKD_ERROR_NEEDS_TORCH ||
              code == EKD_ERROR_SELF_TEST,
          ekd_last_error());
  if (code != EKD_OK) return 0;
  ekd_description description{};
  description.size = sizeof description;
  require(ekd_describe(model, &description) == EKD_OK, "no description");
  const std::vector<double> positions{0, 0, 0, 1.1, 0, 0, 0, 1.2, 0};
  const std::vector<std::int32_t> numbers(3, description.atomic_numbers[0]);
  double energy = 0.0;
  std::vector<double> forces(9);
  ekd_results results{};
  results.size = sizeof results;
  results.energy = &energy;
  results.forces = forces.data();
  const int evaluated =
      ekd_evaluate(model, 3, positions.data(), numbers.data(), nullptr, nullptr, &results);
  require(evaluated == EKD_OK || evaluated == EKD_ERROR_STRUCTURE, ekd_last_error());
  if (evaluated == EKD_OK) {
    require(std::isfinite(energy), "the energy is not finite");
    for (const double force : forces) require(std::isfinite(force), "a force is not finite");
  }
  ekd_close(model);
  return 0;
}
