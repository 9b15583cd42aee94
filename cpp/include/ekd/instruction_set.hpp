// Selection of the instruction set of the kernels for this processor.
#pragma once

namespace ekd {

// Ascending: each includes the previous ones.
enum class InstructionSet { kPortable, kAvx2, kAvx512 };

// The best instruction set of the processor, or a lower one if set in the environment variable
// EKD_SIMD (avx512, avx2, portable). Never one that the processor lacks.
InstructionSet instruction_set() noexcept;

}  // namespace ekd
