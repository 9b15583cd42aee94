// Functions for vectorized loops, without branches or calls to libm, and dual numbers, with which
// code for first derivatives also gives second derivatives.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernel.hpp"

namespace ekd::math {

// Numbers that are processed at once, in as many registers as the processor needs.
template <class T, int kBytes>
struct LanesOf {
  typedef T type __attribute__((vector_size(kBytes)));
};
template <class T, int kBytes>
using Lanes = typename LanesOf<T, kBytes>::type;

template <class V, class T>
EKD_INLINE V load(const T* from) {
  V value;
  std::memcpy(&value, from, sizeof(V));
  return value;
}
template <class V, class T>
EKD_INLINE void store(T* to, V value) {
  std::memcpy(to, &value, sizeof(V));
}

// e^x for x <= 80: 2^n e^y with |y| <= ln(2)/2, and the Taylor series of e^y. Zero if it is so
// small (1e-26 in single precision) that products could be denormal, which are slow.
template <class T>
EKD_INLINE T exponential(T x) {
  constexpr bool kSingle = sizeof(T) == 4;
  using Bits = std::conditional_t<kSingle, std::uint32_t, std::uint64_t>;
  constexpr T kRound = kSingle ? T(0x1.8p23) : T(0x1.8p52);  // puts n into the last bits of a sum
  constexpr T kLowest = kSingle ? T(-60) : T(-600);
  // ln 2 in two parts; the first has few enough digits for an exact product with n.
  constexpr T kLn2High = kSingle ? T(0.693359375) : T(0x1.62e42fee00000p-1);
  constexpr T kLn2Low = kSingle ? T(-2.12194440054690583e-4) : T(0x1.a39ef35793c76p-33);
  const bool vanishes = x < kLowest;
  x = vanishes ? kLowest : x;
  const T shifted = x * T(1.44269504088896340736) + kRound;
  const T n = shifted - kRound;
  const T y = (x - n * kLn2High) - n * kLn2Low;
  T series = 1;
#pragma GCC unroll 16
  for (int k = kSingle ? 8 : 14; k > 0; --k) series = series * (y * (T(1) / T(k))) + T(1);
  const Bits exponent = std::bit_cast<Bits>(shifted) << (kSingle ? 23 : 52);
  const Bits all = vanishes ? Bits(0) : ~Bits(0);
  return std::bit_cast<T>(static_cast<Bits>((std::bit_cast<Bits>(series) + exponent) & all));
}

// ln(1 + u) for 0 <= u <= 1: 2 artanh(u / (2 + u)), whose series converges by 1/9 per term.
template <class T>
EKD_INLINE T log_one_plus(T u) {
  constexpr int kTerms = sizeof(T) == 4 ? 8 : 17;
  const T s = u / (u + T(2));
  const T square = s * s;
  T series = T(1) / T(2 * kTerms + 1);
#pragma GCC unroll 20
  for (int k = kTerms - 1; k >= 0; --k) series = series * square + T(1) / T(2 * k + 1);
  return 2 * s * series;
}

// sin y and cos y for 0 <= y <= pi/2, by Taylor series.
template <class T>
EKD_INLINE void sine_cosine(T y, T& sine, T& cosine) {
  const T square = y * y;
  T odd = 1, even = 1;
#pragma GCC unroll 16
  for (int k = sizeof(T) == 4 ? 7 : 12; k > 0; --k) {
    odd = T(1) - odd * (square * (T(1) / T(2 * k * (2 * k + 1))));
    even = T(1) - even * (square * (T(1) / T(2 * k * (2 * k - 1))));
  }
  sine = y * odd;
  cosine = even;
}

template <class T>
EKD_INLINE T sum(std::int64_t n, const T* x) {
  constexpr std::int64_t kParts = 16;  // independent sums
  T parts[kParts] = {};
  std::int64_t k = 0;
  for (; k + kParts <= n; k += kParts)
    for (std::int64_t part = 0; part < kParts; ++part) parts[part] += x[k + part];
  for (std::int64_t part = 0; k + part < n; ++part) parts[part] += x[k + part];
#pragma GCC unroll 4
  for (std::int64_t half = kParts / 2; half > 0; half /= 2)
    for (std::int64_t part = 0; part < half; ++part) parts[part] += parts[part + half];
  return parts[0];
}

// A number and its derivative along some direction.
template <class T>
struct Dual {
  T value = 0;
  T slope = 0;
};

template <class S>
struct RealOf {
  using type = S;
};
template <class T>
struct RealOf<Dual<T>> {
  using type = T;
};
template <class S>
using Real = typename RealOf<S>::type;

template <class T>
EKD_INLINE Dual<T> operator+(Dual<T> a, Dual<T> b) {
  return {a.value + b.value, a.slope + b.slope};
}
template <class T>
EKD_INLINE Dual<T> operator-(Dual<T> a, Dual<T> b) {
  return {a.value - b.value, a.slope - b.slope};
}
template <class T>
EKD_INLINE Dual<T> operator*(Dual<T> a, Dual<T> b) {
  return {a.value * b.value, a.value * b.slope + a.slope * b.value};
}
template <class T>
EKD_INLINE Dual<T> operator/(Dual<T> a, Dual<T> b) {
  const T ratio = a.value / b.value;
  return {ratio, (a.slope - ratio * b.slope) / b.value};
}
template <class T>
EKD_INLINE Dual<T> operator+(Dual<T> a, std::type_identity_t<T> b) {
  return {a.value + b, a.slope};
}
template <class T>
EKD_INLINE Dual<T> operator*(std::type_identity_t<T> a, Dual<T> b) {
  return {a * b.value, a * b.slope};
}
template <class T>
EKD_INLINE Dual<T> exponential(Dual<T> x) {
  const T value = exponential(x.value);
  return {value, value * x.slope};
}
EKD_INLINE float root(float x) { return __builtin_sqrtf(x); }
EKD_INLINE double root(double x) { return __builtin_sqrt(x); }
template <class T>
EKD_INLINE Dual<T> root(Dual<T> x) {
  const T value = root(x.value);
  return {value, x.slope / (2 * value)};
}

// The result for a caller: a number itself, or the derivative of a dual number.
template <class T>
EKD_INLINE T result(T x) {
  return x;
}
template <class T>
EKD_INLINE T result(Dual<T> x) {
  return x.slope;
}

// An array of plain numbers, or of dual numbers with separate values and slopes, from which vectors
// are loaded. Arrays of `const T` are read-only.
template <class S>
struct Array {
  S* values = nullptr;
  EKD_INLINE std::remove_const_t<S> operator[](std::int64_t k) const { return values[k]; }
  EKD_INLINE Array operator+(std::int64_t offset) const { return {values + offset}; }
};

template <class T>
struct Array<Dual<T>> {
  T* values = nullptr;
  T* slopes = nullptr;
  EKD_INLINE Dual<std::remove_const_t<T>> operator[](std::int64_t k) const {
    return {values[k], slopes[k]};
  }
  EKD_INLINE Array operator+(std::int64_t offset) const {
    return {values + offset, slopes + offset};
  }
};

}  // namespace ekd::math
