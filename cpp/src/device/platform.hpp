// Platform layer of the kernels, which run on an accelerator or on the CPU.
//
// A kernel is a function of a block of threads. It consists of phases: a phase is a function of the
// thread index, and every thread has finished a phase before the next one begins. On the device,
// each thread runs its own part and waits at a barrier. On the host, a phase is a loop over the
// threads of the block. Both run the same source, so every index, bound and order of sums is the
// same.
//
// This file and its includes are compiled by g++, nvcc, hipcc and NVRTC. NVRTC has no standard
// headers.
#pragma once

#if defined(__CUDACC__) || defined(__HIPCC__)
#define EKD_ON_DEVICE
#define EKD_DEVICE __device__ __forceinline__
#define EKD_UNROLL _Pragma("unroll")
#else
#include <cmath>
#include <cstddef>
#include <cstring>
#define EKD_DEVICE inline
#define EKD_UNROLL _Pragma("GCC unroll 16")
#endif

namespace ekd::device {

using Int64 = long long;

// A block of threads.
struct Block {
  int index;  // of the block in the launch
  int n_threads;
  unsigned char* shared;  // shared memory of the block, aligned to 16 bytes

  template <class Phase>
  EKD_DEVICE void each_thread(const Phase& phase) const {
#ifdef EKD_ON_DEVICE
    phase(static_cast<int>(threadIdx.x));
    __syncthreads();
#else
    for (int thread = 0; thread < n_threads; ++thread) phase(thread);
#endif
  }
};

// N numbers per thread that persist between phases: registers, or on the host a table in shared
// memory beginning at `host_memory`.
template <class T, int N>
class PerThread {
 public:
#ifdef EKD_ON_DEVICE
  EKD_DEVICE explicit PerThread(T*) {}
  EKD_DEVICE T* of(int) { return values_; }

 private:
  T values_[N];
#else
  explicit PerThread(T* host_memory) : values_(host_memory) {}
  T* of(int thread) { return values_ + static_cast<std::ptrdiff_t>(thread) * N; }

 private:
  T* values_;
#endif
};

// Allocates the shared memory of a block. The host uses it to compute how much a kernel needs, with
// nullptr as the beginning.
class Carver {
 public:
  EKD_DEVICE explicit Carver(unsigned char* begin) : begin_(begin) {}

  template <class T>
  EKD_DEVICE T* take(Int64 n) {
#ifdef EKD_ON_DEVICE
    T* const memory = reinterpret_cast<T*>(begin_ + used_);
#else
    T* const memory = begin_ == nullptr ? nullptr : reinterpret_cast<T*>(begin_ + used_);
#endif
    used_ += (n * static_cast<Int64>(sizeof(T)) + 15) / 16 * 16;
    return memory;
  }
  EKD_DEVICE Int64 used() const { return used_; }
  // Later allocations reuse the memory after `mark`.
  EKD_DEVICE void return_to(Int64 mark) { used_ = mark; }

 private:
  unsigned char* begin_;
  Int64 used_ = 0;
};

// Four adjacent numbers, which a thread reads and writes at once.
template <class T>
struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) Four {
  T of[4];
};

template <class T>
EKD_DEVICE Four<T> load(const T* from) {
#ifdef EKD_ON_DEVICE
  return *reinterpret_cast<const Four<T>*>(from);
#else
  Four<T> values;
  std::memcpy(values.of, from, sizeof(values));
  return values;
#endif
}

template <class T>
EKD_DEVICE void store(T* to, const Four<T>& values) {
#ifdef EKD_ON_DEVICE
  *reinterpret_cast<Four<T>*>(to) = values;
#else
  std::memcpy(to, values.of, sizeof(values));
#endif
}

// Atomic addition to a number shared between blocks. The host runs one block at a time.
template <class T>
EKD_DEVICE void add_together(T* to, T value) {
#ifdef EKD_ON_DEVICE
  atomicAdd(to, value);
#else
  *to += value;
#endif
}

// Atomically sets a bit of a number shared between blocks.
EKD_DEVICE void set_together(unsigned* to, unsigned bit) {
#ifdef EKD_ON_DEVICE
  atomicOr(to, bit);
#else
  *to |= bit;
#endif
}

// ---- functions with other names on the device ------------------------------------------------

EKD_DEVICE float square_root(float x) { return sqrtf(x); }
EKD_DEVICE double square_root(double x) { return sqrt(x); }
EKD_DEVICE float exponential(float x) { return expf(x); }
EKD_DEVICE double exponential(double x) { return exp(x); }
EKD_DEVICE float log_one_plus(float x) { return log1pf(x); }
EKD_DEVICE double log_one_plus(double x) { return log1p(x); }
// Sine and cosine of pi x.
EKD_DEVICE void sine_cosine_pi(float x, float& sine, float& cosine) {
#ifdef EKD_ON_DEVICE
  sincospif(x, &sine, &cosine);
#else
  sine = std::sin(3.14159265358979323846f * x);
  cosine = std::cos(3.14159265358979323846f * x);
#endif
}
EKD_DEVICE void sine_cosine_pi(double x, double& sine, double& cosine) {
#ifdef EKD_ON_DEVICE
  sincospi(x, &sine, &cosine);
#else
  sine = std::sin(3.14159265358979323846 * x);
  cosine = std::cos(3.14159265358979323846 * x);
#endif
}
EKD_DEVICE Int64 to_nearest(double x) {
#ifdef EKD_ON_DEVICE
  return __double2ll_rn(x);
#else
  return std::llrint(x);
#endif
}

// ln(1 + e^x) and its slope; x itself above 20, as in torch.
template <class T>
EKD_DEVICE T softplus(T x, T& slope) {
  if (x > T(20)) {
    slope = T(1);
    return x;
  }
  const T u = exponential(x > T(0) ? -x : x);  // at most 1
  const T inverse = T(1) / (T(1) + u);
  slope = x > T(0) ? inverse : u * inverse;
  return (x > T(0) ? x : T(0)) + log_one_plus(u);
}

}  // namespace ekd::device
