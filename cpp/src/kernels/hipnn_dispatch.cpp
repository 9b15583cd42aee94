#include <algorithm>
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

enum class Level { kPortable, kAvx2, kAvx512 };

// The environment may ask for less than there is.
Level level() {
#ifdef EKD_X86
  // What the builtin returns is zero or some other number, not zero or one.
  Level most = Level::kPortable;
  if (__builtin_cpu_supports("x86-64-v3") != 0) most = Level::kAvx2;
  if (__builtin_cpu_supports("x86-64-v4") != 0) most = Level::kAvx512;
  const char* const wanted = std::getenv("EKD_SIMD");
  if (wanted != nullptr && std::strcmp(wanted, "portable") == 0) return Level::kPortable;
  if (wanted != nullptr && std::strcmp(wanted, "avx2") == 0) return std::min(most, Level::kAvx2);
  return most;
#else
  return Level::kPortable;
#endif
}

}  // namespace

template <>
const HipnnKernels<float>& hipnn_kernels<float>() {
#ifdef EKD_X86
  if (level() == Level::kAvx512) return hipnn_float_avx512;
  if (level() == Level::kAvx2) return hipnn_float_avx2;
#endif
  return hipnn_float_portable;
}

template <>
const HipnnKernels<double>& hipnn_kernels<double>() {
#ifdef EKD_X86
  if (level() == Level::kAvx512) return hipnn_double_avx512;
  if (level() == Level::kAvx2) return hipnn_double_avx2;
#endif
  return hipnn_double_portable;
}

}  // namespace ekd
