// Memory that evaluations use again and again.
#pragma once

#include <cstdint>
#include <memory>

namespace ekd {

// Grows and never shrinks, and is not cleared: from step to step a simulation needs the same.
template <class T>
class Workspace {
 public:
  T* reserve(std::int64_t n) {
    if (n > size_) {
      release();
      data_.reset(new T[n]);
      size_ = n;
    }
    return data_.get();
  }
  T* data() const { return data_.get(); }
  void release() {
    data_.reset();
    size_ = 0;
  }

 private:
  std::unique_ptr<T[]> data_;
  std::int64_t size_ = 0;
};

}  // namespace ekd
