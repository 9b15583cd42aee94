// Kernels from one source for every instruction set.
#pragma once

#include "ekd/instruction_set.hpp"

// A kernel takes on the instruction set of the function that it is inlined into; what is not
// inlined, such as functions of the library, stays for any processor.
#define EKD_INLINE __attribute__((always_inline)) inline

// Defines `void name parameters` as `implementation arguments`, which must be EKD_INLINE and is
// compiled once for each instruction set. The choice is made at the first call: it is for functions
// that are called for every atom. No symbol of it needs the loader, as those of `target_clones` do.
#ifdef EKD_X86
#define EKD_FUNCTION(name, implementation, parameters, arguments)                  \
  __attribute__((target("arch=x86-64-v4"))) static void name##_avx512 parameters { \
    implementation arguments;                                                      \
  }                                                                                \
  __attribute__((target("arch=x86-64-v3"))) static void name##_avx2 parameters {   \
    implementation arguments;                                                      \
  }                                                                                \
  static void name##_portable parameters { implementation arguments; }             \
  void name parameters {                                                           \
    static const InstructionSet best = instruction_set();                          \
    if (best == InstructionSet::kAvx512) return name##_avx512 arguments;           \
    if (best == InstructionSet::kAvx2) return name##_avx2 arguments;               \
    name##_portable arguments;                                                     \
  }
#else
#define EKD_FUNCTION(name, implementation, parameters, arguments) \
  void name parameters { implementation arguments; }
#endif

// Defines `void name<T> parameters`, declared as a template, as `implementation arguments`, which
// must be EKD_INLINE and is compiled once for each instruction set.
#ifdef EKD_X86
#define EKD_KERNEL(T, name, implementation, parameters, arguments)                       \
  __attribute__((target("arch=x86-64-v4"))) static void name##_##T##_avx512 parameters { \
    implementation arguments;                                                            \
  }                                                                                      \
  __attribute__((target("arch=x86-64-v3"))) static void name##_##T##_avx2 parameters {   \
    implementation arguments;                                                            \
  }                                                                                      \
  template <>                                                                            \
  void name<T> parameters {                                                              \
    switch (instruction_set()) {                                                         \
      case InstructionSet::kAvx512:                                                      \
        return name##_##T##_avx512 arguments;                                            \
      case InstructionSet::kAvx2:                                                        \
        return name##_##T##_avx2 arguments;                                              \
      case InstructionSet::kPortable:                                                    \
        implementation arguments;                                                        \
    }                                                                                    \
  }
#else
#define EKD_KERNEL(T, name, implementation, parameters, arguments) \
  template <>                                                      \
  void name<T> parameters {                                        \
    implementation arguments;                                      \
  }
#endif
