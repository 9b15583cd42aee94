// Kernels from one source for every instruction set.
#pragma once

#include "ekd/instruction_set.hpp"

// A kernel takes on the instruction set of the function that it is inlined into; what is not
// inlined, such as functions of the library, stays for any processor.
#define EKD_INLINE __attribute__((always_inline)) inline

// Variants of a function, `name_avx512`, `name_avx2` and `name_portable`, each of which runs
// `implementation arguments`. The implementation must be EKD_INLINE. No symbol needs the loader to
// choose one, as those of `target_clones` do.
#ifdef EKD_X86
#define EKD_VARIANTS(name, implementation, parameters, arguments)                  \
  __attribute__((target("arch=x86-64-v4"))) static void name##_avx512 parameters { \
    implementation arguments;                                                      \
  }                                                                                \
  __attribute__((target("arch=x86-64-v3"))) static void name##_avx2 parameters {   \
    implementation arguments;                                                      \
  }                                                                                \
  static void name##_portable parameters { implementation arguments; }
#define EKD_CALL_VARIANT(set, name, arguments)                          \
  if ((set) == InstructionSet::kAvx512) return name##_avx512 arguments; \
  if ((set) == InstructionSet::kAvx2) return name##_avx2 arguments;     \
  name##_portable arguments;
#else
#define EKD_VARIANTS(name, implementation, parameters, arguments) \
  static void name##_portable parameters { implementation arguments; }
#define EKD_CALL_VARIANT(set, name, arguments) \
  (void)(set);                                 \
  name##_portable arguments;
#endif

// Defines `void name parameters`. The variant is chosen at the first call: this is for functions
// that are called for every atom.
#define EKD_FUNCTION(name, implementation, parameters, arguments) \
  EKD_VARIANTS(name, implementation, parameters, arguments)       \
  void name parameters {                                          \
    static const InstructionSet best = instruction_set();         \
    EKD_CALL_VARIANT(best, name, arguments)                       \
  }

// Defines `void name<T> parameters`, declared as a template. The variant is chosen at every call.
#define EKD_KERNEL(T, name, implementation, parameters, arguments) \
  EKD_VARIANTS(name##_##T, implementation, parameters, arguments)  \
  template <>                                                      \
  void name<T> parameters {                                        \
    const InstructionSet chosen = instruction_set();               \
    EKD_CALL_VARIANT(chosen, name##_##T, arguments)                \
  }
