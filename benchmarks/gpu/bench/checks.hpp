// The kernels of a device against those of the host.
#pragma once

#include <string>
#include <vector>

namespace bench {

struct CheckPlan {
  std::string device;
  std::vector<std::string> models, structures;  // paths
  int n_threads = 1;
  int repeats = 5;  // evaluations that must give the same bits
};

// Prints a record for each model, structure, precision and way. Returns how many have failed.
int check(const CheckPlan& plan);

}  // namespace bench
