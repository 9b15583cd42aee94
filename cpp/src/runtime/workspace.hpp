// Memory that is reused between evaluations.
#pragma once

#include <cstdint>
#include <memory>

#include "ekd/buffer.hpp"

namespace ekd {

// Never shrinks and is not cleared, because all steps of a simulation need about the same size.
// Aligned to cache lines.
template <class T>
class Workspace {
 public:
  T* reserve(std::int64_t n) {
    if (n > static_cast<std::int64_t>(data_.size())) {
      release();
      data_ = Buffer<T>(n, pool_);
    }
    return data_.data();
  }
  T* data() { return data_.data(); }
  const T* data() const { return data_.data(); }
  void release() { data_ = {}; }

 private:
  std::shared_ptr<BlockPool> pool_ = std::make_shared<BlockPool>(0);  // keeps nothing
  Buffer<T> data_;
};

}  // namespace ekd
