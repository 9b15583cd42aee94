// Memory that is reused between evaluations.
#pragma once

#include <cstdint>
#include <memory>

namespace ekd {

// Never shrinks and is not cleared, because all steps of a simulation need about the same size.
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
