// Macros for kernels compiled for every instruction set from one source.
#pragma once

#include "ekd/instruction_set.hpp"

// A kernel uses the instruction set of the function that it is inlined into. Functions that are not
// inlined, such as library functions, run on any processor.
#define EKD_INLINE __attribute__((always_inline)) inline

// Before a loop: its iterations are independent, which the compiler cannot know of its pointers.
#ifdef __clang__
#define EKD_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define EKD_INDEPENDENT _Pragma("GCC ivdep")
#endif

// EKD_VARIANTS defines `name_avx512`, `name_avx2` and `name_portable`, each of which runs
// `implementation arguments`; the implementation must be EKD_INLINE. EKD_VARIANT(name) selects one.
// Unlike `target_clones`, this does not depend on the loader.
#ifdef EKD_X86
#define EKD_VARIANTS(name, implementation, parameters, arguments)                  \
  __attribute__((target("arch=x86-64-v4"))) static void name##_avx512 parameters { \
    implementation arguments;                                                      \
  }                                                                                \
  __attribute__((target("arch=x86-64-v3"))) static void name##_avx2 parameters {   \
    implementation arguments;                                                      \
  }                                                                                \
  static void name##_portable parameters { implementation arguments; }
#define EKD_VARIANT(name) (ekd::best_of(name##_avx512, name##_avx2, name##_portable))

namespace ekd {
template <class Function>
Function* best_of(Function* avx512, Function* avx2, Function* portable) noexcept {
  const InstructionSet set = instruction_set();
  if (set == InstructionSet::kAvx512) return avx512;
  return set == InstructionSet::kAvx2 ? avx2 : portable;
}
}  // namespace ekd
#else
#define EKD_VARIANTS(name, implementation, parameters, arguments) \
  static void name##_portable parameters { implementation arguments; }
#define EKD_VARIANT(name) name##_portable
#endif

// Defines `void name parameters`. The variant is selected when the library is loaded, for functions
// that are called for every atom.
#define EKD_FUNCTION(name, implementation, parameters, arguments)   \
  EKD_VARIANTS(name, implementation, parameters, arguments)         \
  static void(*const name##_chosen) parameters = EKD_VARIANT(name); \
  void name parameters { name##_chosen arguments; }

// Defines `void name<T> parameters`, declared as a template. The variant is selected at every call.
#define EKD_KERNEL(T, name, implementation, parameters, arguments) \
  EKD_VARIANTS(name##_##T, implementation, parameters, arguments)  \
  template <>                                                      \
  void name<T> parameters {                                        \
    EKD_VARIANT(name##_##T) arguments;                             \
  }
