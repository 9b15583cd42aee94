#include "instruction_set.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace ekd {

InstructionSet instruction_set() {
#ifdef EKD_X86
  // What the builtin returns is zero or some other number, not zero or one.
  static const InstructionSet most =
      __builtin_cpu_supports("x86-64-v4") != 0   ? InstructionSet::kAvx512
      : __builtin_cpu_supports("x86-64-v3") != 0 ? InstructionSet::kAvx2
                                                 : InstructionSet::kPortable;
  const char* const wanted = std::getenv("EKD_SIMD");
  if (wanted != nullptr && std::strcmp(wanted, "portable") == 0) return InstructionSet::kPortable;
  if (wanted != nullptr && std::strcmp(wanted, "avx2") == 0)
    return std::min(most, InstructionSet::kAvx2);
  return most;
#else
  return InstructionSet::kPortable;
#endif
}

}  // namespace ekd
