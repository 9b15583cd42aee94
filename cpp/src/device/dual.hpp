// Dual numbers: a number and its derivative along some direction. With them, code for first
// derivatives also gives second derivatives.
#pragma once

#include "platform.hpp"

namespace ekd::device {

template <class T>
struct Dual {
  T value, slope;
};

// The type of the real numbers that S consists of.
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
EKD_DEVICE Dual<T> operator+(Dual<T> a, Dual<T> b) {
  return {a.value + b.value, a.slope + b.slope};
}
template <class T>
EKD_DEVICE Dual<T> operator-(Dual<T> a, Dual<T> b) {
  return {a.value - b.value, a.slope - b.slope};
}
template <class T>
EKD_DEVICE Dual<T> operator*(Dual<T> a, Dual<T> b) {
  return {a.value * b.value, a.value * b.slope + a.slope * b.value};
}
template <class T>
EKD_DEVICE Dual<T> operator/(Dual<T> a, Dual<T> b) {
  const T ratio = a.value / b.value;
  return {ratio, (a.slope - ratio * b.slope) / b.value};
}
template <class T>
EKD_DEVICE Dual<T> square_root(Dual<T> x) {
  const T value = square_root(x.value);
  return {value, x.slope / (T(2) * value)};
}
template <class T>
EKD_DEVICE Dual<T> exponential(Dual<T> x) {
  const T value = exponential(x.value);
  return {value, value * x.slope};
}

// A constant of type S.
template <class S>
EKD_DEVICE S constant(double value) {
  if constexpr (sizeof(S) == sizeof(Real<S>))
    return static_cast<S>(value);
  else
    return S{static_cast<Real<S>>(value), Real<S>(0)};
}

// The result for a caller: a number itself, or the derivative of a dual number.
template <class T>
EKD_DEVICE T result(T x) {
  return x;
}
template <class T>
EKD_DEVICE T result(Dual<T> x) {
  return x.slope;
}

// An array of numbers, or of dual numbers with separate values and slopes.
template <class S>
struct Numbers {
  const S* values;
  EKD_DEVICE S operator[](Int64 k) const { return values[k]; }
};
template <class T>
struct Numbers<Dual<T>> {
  const T* values;
  const T* slopes;
  EKD_DEVICE Dual<T> operator[](Int64 k) const { return {values[k], slopes[k]}; }
};

}  // namespace ekd::device
