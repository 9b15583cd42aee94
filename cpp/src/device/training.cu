// The program for training on a device; see program.cu. EKD_REAL: float or double.
#include "training.hpp"

namespace ekd::device {

using T = EKD_REAL;

#define EKD_KERNEL(name, Argument, call)                                          \
  extern "C" __global__ void __launch_bounds__(256) ekd_##name(const Argument a) { \
    const Block block{static_cast<int>(blockIdx.x), static_cast<int>(blockDim.x), nullptr}; \
    call;                                                                         \
  }
EKD_EACH_TRAINING_KERNEL(EKD_KERNEL)

}  // namespace ekd::device
