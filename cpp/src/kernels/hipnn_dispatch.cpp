#include <cstdlib>
#include <cstring>

#include "ekd/hipnn_kernels.hpp"

namespace ekd {

extern const HipnnKernels<float> hipnn_float_portable;
extern const HipnnKernels<double> hipnn_double_portable;
#ifdef EKD_X86
extern const HipnnKernels<float> hipnn_float_avx2, hipnn_float_avx512;
extern const HipnnKernels<double> hipnn_double_avx2, hipnn_double_avx512;
#endif

namespace {

// 0: portable, 1: AVX2, 2: AVX-512. The environment may ask for less than there is.
int level() {
#ifdef EKD_X86
  const int most = __builtin_cpu_supports("x86-64-v4") ? 2 : __builtin_cpu_supports("x86-64-v3");
  const char* const wanted = std::getenv("EKD_SIMD");
  if (wanted != nullptr && std::strcmp(wanted, "portable") == 0) return 0;
  if (wanted != nullptr && std::strcmp(wanted, "avx2") == 0) return most > 0;
  return most;
#else
  return 0;
#endif
}

}  // namespace

template <>
const HipnnKernels<float>& hipnn_kernels<float>() {
#ifdef EKD_X86
  if (level() == 2) return hipnn_float_avx512;
  if (level() == 1) return hipnn_float_avx2;
#endif
  return hipnn_float_portable;
}

template <>
const HipnnKernels<double>& hipnn_kernels<double>() {
#ifdef EKD_X86
  if (level() == 2) return hipnn_double_avx512;
  if (level() == 1) return hipnn_double_avx2;
#endif
  return hipnn_double_portable;
}

}  // namespace ekd
