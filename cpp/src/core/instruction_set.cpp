#include "ekd/instruction_set.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace ekd {
namespace {

InstructionSet best() {
  auto found = InstructionSet::kPortable;
#ifdef EKD_X86
  // The builtin returns zero or any other number, not zero or one.
  if (__builtin_cpu_supports("x86-64-v3") != 0) found = InstructionSet::kAvx2;
  if (__builtin_cpu_supports("x86-64-v4") != 0) found = InstructionSet::kAvx512;
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
