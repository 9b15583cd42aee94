#include "ekd/hipnn_kernels.hpp"
#include "ekd/instruction_set.hpp"

namespace ekd {

extern const HipnnKernels<float> hipnn_float_portable;
extern const HipnnKernels<double> hipnn_double_portable;
#ifdef EKD_X86
extern const HipnnKernels<float> hipnn_float_avx2, hipnn_float_avx512;
extern const HipnnKernels<double> hipnn_double_avx2, hipnn_double_avx512;
#endif

template <>
const HipnnKernels<float>& hipnn_kernels<float>() {
#ifdef EKD_X86
  if (instruction_set() == InstructionSet::kAvx512) return hipnn_float_avx512;
  if (instruction_set() == InstructionSet::kAvx2) return hipnn_float_avx2;
#endif
  return hipnn_float_portable;
}

template <>
const HipnnKernels<double>& hipnn_kernels<double>() {
#ifdef EKD_X86
  if (instruction_set() == InstructionSet::kAvx512) return hipnn_double_avx512;
  if (instruction_set() == InstructionSet::kAvx2) return hipnn_double_avx2;
#endif
  return hipnn_double_portable;
}

}  // namespace ekd
