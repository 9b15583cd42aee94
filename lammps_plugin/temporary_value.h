// Changes the value of a variable during the lifetime of an object.
#pragma once

namespace ekd {

template <class T>
class TemporaryValue {
 public:
  TemporaryValue(T& variable, T value) : variable_(variable), usual_(variable) { variable = value; }
  ~TemporaryValue() { variable_ = usual_; }
  TemporaryValue(const TemporaryValue&) = delete;
  TemporaryValue& operator=(const TemporaryValue&) = delete;

 private:
  T& variable_;
  const T usual_;
};

}  // namespace ekd
