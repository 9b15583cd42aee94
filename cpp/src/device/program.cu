// The program of a device: the kernels for one precision and tensor rank. Compiled at run time by
// NVRTC for the GPU in use, or by nvcc or hipcc.
//
// EKD_REAL: float or double. EKD_COMPONENTS: 1, 4 or 9. EKD_WIDTH, EKD_SENSITIVITIES and
// EKD_SENSITIVITY_WIDTH, if they are set: see Interaction.
#include "kernels.hpp"

namespace ekd::device {

using T = EKD_REAL;
constexpr int C = EKD_COMPONENTS;

#define EKD_KERNEL(name, Argument, call)                                          \
  extern "C" __global__ void __launch_bounds__(256) ekd_##name(const Argument a) { \
    extern __shared__ __align__(16) unsigned char shared[];                       \
    const Block block{static_cast<int>(blockIdx.x), static_cast<int>(blockDim.x), shared}; \
    call;                                                                         \
  }
EKD_EACH_KERNEL(EKD_KERNEL)

}  // namespace ekd::device
