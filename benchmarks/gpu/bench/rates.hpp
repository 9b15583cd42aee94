// How fast a device is: energy and forces, the list given.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bench {

struct RatePlan {
  std::string device, model, structure;
  std::string precision = "float32";
  std::vector<std::int64_t> sizes;  // atoms, about
  std::vector<std::string> tiles;   // values of EKD_TILE, or "default"; none: as it is set
  double seconds = 1.0;             // that each is timed
  double skin = 1.0;                // Å, of the rows
  int n_threads = 1;
};

// Prints a record for each size, and each tile. A size that the memory has no room for ends it:
// that is a record too. Returns how many have failed: forces that differ from those of the host.
int measure_rates(const RatePlan& plan);

// The same with positions from the memory of the host and energies and forces back to it.
int measure_with_transfers(const RatePlan& plan);

// Seconds of each kernel, one size. The device waits for each, so that small ones seem slower.
int measure_kernels(const RatePlan& plan);

// Seconds until a model is ready, kernels compiled and not.
int measure_opening(const RatePlan& plan);

}  // namespace bench
