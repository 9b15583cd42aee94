// Which of the instruction sets that kernels are compiled for this processor gets.
#pragma once

namespace ekd {

// Ascending: each has what those before it have.
enum class InstructionSet { kPortable, kAvx2, kAvx512 };

// The best that the processor has, or less where the environment variable EKD_SIMD (avx512, avx2,
// portable) asks for less. What the processor lacks is never returned.
InstructionSet instruction_set() noexcept;

}  // namespace ekd
