#include "ekd/instruction_set.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace ekd {
namespace {

InstructionSet best() {
  auto found = InstructionSet::kPortable;
#ifdef EKD_X86
  // The features of x86-64-v3 and -v4, since clang 14 does not know these names. The builtin
  // returns zero or any other number, not zero or one.
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
      __builtin_cpu_supports("bmi") != 0 && __builtin_cpu_supports("bmi2") != 0) {
    found = InstructionSet::kAvx2;
    if (__builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
        __builtin_cpu_supports("avx512cd") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
        __builtin_cpu_supports("avx512vl") != 0) {
      found = InstructionSet::kAvx512;
    }
  }
#endif
  return found;
}

InstructionSet most_wanted() {
  const char* const wanted = std::getenv("EKD_SIMD");
  if (wanted != nullptr && std::strcmp(wanted, "portable") == 0) return InstructionSet::kPortable;
  if (wanted != nullptr && std::strcmp(wanted, "avx2") == 0) return InstructionSet::kAvx2;
  return InstructionSet::kAvx512;
}

}  // namespace

InstructionSet instruction_set() noexcept { return std::min(best(), most_wanted()); }

}  // namespace ekd
