// Large arrays that are filled in C++ and passed on to numpy or torch. Neither is used here.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace ekd {

// Memory for large arrays. Blocks of 2 MiB and more use huge pages if available. Some freed blocks
// are kept for later requests: mapping and clearing 70 MB of new pages takes longer than filling
// them with a neighbor list. Thread-safe.
class BlockPool {
 public:
  // `limit`: largest number of bytes that are kept. `smallest`: smaller blocks are left to the C
  // library. Larger ones it may return to the system every time, if together they are at the end of
  // its heap, and UCX, a transport of MPI, leaks memory with every return
  // (findings/ucx_heap_trims.sh).
  explicit BlockPool(std::size_t limit, std::size_t smallest = std::size_t{32} << 10)
      : limit_(limit), smallest_(smallest) {}
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;

  // The default pool, which keeps up to 256 MiB.
  static const std::shared_ptr<BlockPool>& common();

  // Aligned to 64 bytes. `capacity`, at least `bytes`, must be passed to free().
  void* allocate(std::size_t bytes, std::size_t& capacity);
  void free(void* data, std::size_t capacity) noexcept;

  void set_limit(std::size_t limit) noexcept;
  std::size_t kept() const noexcept;

 private:
  struct Block {
    void* data;
    std::size_t capacity;
  };
  void drop_oldest() noexcept;

  mutable std::mutex mutex_;
  std::size_t limit_;
  std::size_t smallest_;
  std::size_t kept_ = 0;
  std::vector<Block> blocks_;  // the oldest first
};

// A fixed number of values, initially uninitialized. Movable, not copyable.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size, std::shared_ptr<BlockPool> pool = BlockPool::common())
      : pool_(std::move(pool)),
        data_(static_cast<T*>(pool_->allocate(size * sizeof(T), capacity_))),
        size_(size) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer() {  // NOLINT(modernize-use-equals-default): its body is not empty
    if (data_ != nullptr) pool_->free(data_, capacity_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t capacity_in_bytes() const { return capacity_; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  T& operator[](std::size_t index) { return data_[index]; }
  const T& operator[](std::size_t index) const { return data_[index]; }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(capacity_, other.capacity_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  std::shared_ptr<BlockPool> pool_;
  std::size_t capacity_ = 0;  // bytes
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ekd
