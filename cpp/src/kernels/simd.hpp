// SIMD vectors for the instruction set that a source file is compiled for, with the functions of
// the network. Included by files that are compiled once per instruction set, with EKD_VECTOR_BYTES
// set to the register width. Everything here is local to such a file; otherwise, the linker could
// merge code for different processors.
#pragma once

#include <cstdint>
#include <cstring>

#if EKD_VECTOR_BYTES > 16
#include <immintrin.h>
#endif

#include "scratch.hpp"

#define EKD_INLINE __attribute__((always_inline)) inline

namespace {

template <class T>
struct Simd;

template <>
struct Simd<float> {
  typedef float Vector __attribute__((vector_size(EKD_VECTOR_BYTES)));
  typedef std::int32_t Bits __attribute__((vector_size(EKD_VECTOR_BYTES)));
  static constexpr float kRound = 0x1.8p23f;  // adding it rounds to integers in the low bits
  static constexpr int kMantissa = 23;
  static constexpr float kLowest = -87.0f;  // of exp
  static constexpr int kExpTerms = 7;
  static constexpr int kLogTerms = 8;
  static constexpr int kSineTerms = 7;
};

template <>
struct Simd<double> {
  typedef double Vector __attribute__((vector_size(EKD_VECTOR_BYTES)));
  typedef std::int64_t Bits __attribute__((vector_size(EKD_VECTOR_BYTES)));
  static constexpr double kRound = 0x1.8p52;
  static constexpr int kMantissa = 52;
  static constexpr double kLowest = -700.0;
  static constexpr int kExpTerms = 13;
  static constexpr int kLogTerms = 17;
  static constexpr int kSineTerms = 12;
};

template <class T>
using Vector = typename Simd<T>::Vector;

template <class T>
constexpr int kLanes = EKD_VECTOR_BYTES / sizeof(T);

template <class T>
EKD_INLINE Vector<T> load(const T* from) {
  Vector<T> value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

template <class T>
EKD_INLINE void store(T* to, Vector<T> value) {
  std::memcpy(to, &value, sizeof(value));
}

template <class T>
EKD_INLINE Vector<T> broadcast(T value) {
  return Vector<T>{} + value;
}

template <class T>
EKD_INLINE T sum(Vector<T> v) {
  T parts[kLanes<T>];
  std::memcpy(parts, &v, sizeof(v));
#pragma GCC unroll 8
  for (int half = kLanes<T> / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) parts[k] += parts[k + half];
  return parts[0];
}

EKD_INLINE float root(float value) { return __builtin_sqrtf(value); }
EKD_INLINE double root(double value) { return __builtin_sqrt(value); }

template <class T>
EKD_INLINE Vector<T> root(Vector<T> value) {
#if EKD_VECTOR_BYTES == 64
  if constexpr (sizeof(T) == 4)
    return _mm512_sqrt_ps(value);
  else
    return _mm512_sqrt_pd(value);
#elif EKD_VECTOR_BYTES == 32
  if constexpr (sizeof(T) == 4)
    return _mm256_sqrt_ps(value);
  else
    return _mm256_sqrt_pd(value);
#else
  for (int lane = 0; lane < kLanes<T>; ++lane) value[lane] = root(value[lane]);
  return value;
#endif
}

template <class V>
EKD_INLINE V larger(V a, V b) {
  return a > b ? a : b;
}

template <class V>
EKD_INLINE V smaller(V a, V b) {
  return a < b ? a : b;
}

struct InverseFactorials {
  double of[16];
  constexpr InverseFactorials() : of{} {
    double product = 1.0;
    for (int k = 0; k < 16; product *= ++k) of[k] = 1.0 / product;
  }
};
constexpr InverseFactorials kInverseFactorial;

// e^x to nearly full precision for x up to 80: 2^n e^y with |y| <= ln(2)/2, and Taylor series.
template <class T>
EKD_INLINE Vector<T> exponential(Vector<T> x) {
  using S = Simd<T>;
  x = larger(x, broadcast<T>(S::kLowest));
  const Vector<T> shifted = x * T(1.44269504088896340736) + S::kRound;
  const Vector<T> n = shifted - S::kRound;
  // ln 2 in two parts; the first has few enough digits for an exact product with n.
  Vector<T> y;
  if (sizeof(T) == 4)
    y = (x - n * T(0.693359375)) - n * T(-2.12194440054690583e-4);
  else
    y = (x - n * T(0x1.62e42fee00000p-1)) - n * T(0x1.a39ef35793c76p-33);
  Vector<T> series = broadcast<T>(T(kInverseFactorial.of[S::kExpTerms]));
#pragma GCC unroll 16
  for (int k = S::kExpTerms - 1; k >= 0; --k) series = series * y + T(kInverseFactorial.of[k]);
  typename S::Bits bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  typename S::Bits exponent;
  std::memcpy(&exponent, &series, sizeof(exponent));
  exponent += bits << S::kMantissa;
  std::memcpy(&series, &exponent, sizeof(series));
  return series;
}

// ln(1 + u) for 0 <= u <= 1: 2 artanh(u / (2 + u)), whose series converges by 1/9 per term.
template <class T>
EKD_INLINE Vector<T> log_one_plus(Vector<T> u) {
  const Vector<T> s = u / (u + T(2));
  const Vector<T> square = s * s;
  Vector<T> series = broadcast<T>(T(1) / T(2 * Simd<T>::kLogTerms + 1));
#pragma GCC unroll 20
  for (int k = Simd<T>::kLogTerms - 1; k >= 0; --k) series = series * square + T(1) / T(2 * k + 1);
  return series * s * T(2);
}

// ln(1 + e^x) and its derivative as in torch: x itself above 20.
template <class T>
EKD_INLINE void softplus(Vector<T> x, Vector<T>& value, Vector<T>& slope) {
  const Vector<T> zero{};
  const Vector<T> u = exponential<T>(x > zero ? -x : x);  // at most 1
  const Vector<T> inverse = T(1) / (u + T(1));
  const auto linear = x > T(20);
  value = linear ? x : larger(x, zero) + log_one_plus<T>(u);
  slope = linear ? broadcast<T>(1) : (x > zero ? inverse : u * inverse);
}

// sin y and cos y for 0 <= y <= pi/2, by Taylor series.
template <class T>
EKD_INLINE void sine_cosine(Vector<T> y, Vector<T>& sine, Vector<T>& cosine) {
  const Vector<T> square = y * y;
  Vector<T> odd = broadcast<T>(1);
  Vector<T> even = broadcast<T>(1);
#pragma GCC unroll 16
  for (int k = Simd<T>::kSineTerms; k > 0; --k) {
    odd = T(1) - odd * (square * (T(1) / T(2 * k * (2 * k + 1))));
    even = T(1) - even * (square * (T(1) / T(2 * k * (2 * k - 1))));
  }
  sine = y * odd;
  cosine = even;
}

// Memory for one call; no std::vector here, see the top of this file.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::int64_t n)
      : block_(ekd::take_scratch(static_cast<std::size_t>(n > 0 ? n : 1) * sizeof(T))) {}
  ~Scratch() { ekd::return_scratch(block_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  operator T*() const { return static_cast<T*>(block_.data); }

 private:
  ekd::ScratchBlock block_;
};

// ---- matrix products ------------------------------------------------------------------------

// Columns per panel of a packed matrix, processed by a micro-kernel at once.
template <class T>
constexpr int kPanel = 2 * kLanes<T>;

// Rows processed by a micro-kernel at once; their sums fill the registers.
constexpr int kRows = EKD_VECTOR_BYTES == 64 ? 12 : EKD_VECTOR_BYTES == 32 ? 6 : 4;

enum class Into { kOverwrite, kAdd };

template <class T, int R>
EKD_INLINE void multiply_rows(const T* a, std::int64_t stride_a, const T* panel, std::int64_t depth,
                              T* c, std::int64_t stride_c, const T* start, Into into) {
  Vector<T> sums[R][2];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      const int at = v * kLanes<T>;
      if (into == Into::kAdd)
        sums[r][v] = load(c + r * stride_c + at);
      else
        sums[r][v] = start != nullptr ? load(start + at) : Vector<T>{};
    }
  for (std::int64_t k = 0; k < depth; ++k) {
    const Vector<T> b0 = load(panel + k * kPanel<T>);
    const Vector<T> b1 = load(panel + k * kPanel<T> + kLanes<T>);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const T factor = a[r * stride_a + k];
      sums[r][0] += factor * b0;
      sums[r][1] += factor * b1;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) store(c + r * stride_c + v * kLanes<T>, sums[r][v]);
}

// c = a b for `rows` rows of a, and the first rows and columns (whole panels) of the packed b.
// `start`, if not null, is the initial value of every row of c.
template <class T, class Packed>
void multiply_part(std::int64_t rows, const T* a, std::int64_t stride_a, const Packed& b,
                   std::int64_t depth, std::int64_t columns, T* c, std::int64_t stride_c,
                   const T* start = nullptr, Into into = Into::kOverwrite) {
  for (std::int64_t n = 0; n < columns; n += kPanel<T>) {
    const T* panel = b.data + n * b.rows;
    const T* from = start == nullptr ? nullptr : start + n;
    std::int64_t row = 0;
    for (; row + kRows <= rows; row += kRows)
      multiply_rows<T, kRows>(a + row * stride_a, stride_a, panel, depth, c + row * stride_c + n,
                              stride_c, from, into);
    for (; row + 4 <= rows && kRows > 4; row += 4)
      multiply_rows<T, 4>(a + row * stride_a, stride_a, panel, depth, c + row * stride_c + n,
                          stride_c, from, into);
    for (; row < rows; ++row)
      multiply_rows<T, 1>(a + row * stride_a, stride_a, panel, depth, c + row * stride_c + n,
                          stride_c, from, into);
  }
}

template <class T, class Packed>
void multiply(std::int64_t rows, const T* a, std::int64_t stride_a, const Packed& b, T* c,
              std::int64_t stride_c, const T* start = nullptr, Into into = Into::kOverwrite) {
  multiply_part<T>(rows, a, stride_a, b, b.rows, b.columns, c, stride_c, start, into);
}

}  // namespace
