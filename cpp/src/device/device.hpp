// An accelerator, or the host in its place: memory, and programs that run there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels.hpp"
#include "training.hpp"

namespace ekd::device {

#define EKD_KERNEL_NAME(name, Argument, call) name,
enum class Kernel : std::size_t { EKD_EACH_KERNEL(EKD_KERNEL_NAME) };
enum class TrainingKernel : std::size_t { EKD_EACH_TRAINING_KERNEL(EKD_KERNEL_NAME) };
#undef EKD_KERNEL_NAME

// What a program is compiled for. Widths of 0 may be any. The program of training has its own
// kernels, for any components and widths.
struct ProgramKey {
  bool single = false;
  bool training = false;
  int components = 1;
  int width = 0;
  int sensitivities = 0;
  int sensitivity_width = 0;
};

struct Launch {
  int n_blocks = 0;
  int n_threads = 0;  // of a block
  std::size_t shared_bytes = 0;
};

class Program {
 public:
  virtual ~Program() = default;

  // `argument` is what the kernel takes. Returns before it has run. Nothing happens without blocks.
  // Throws Error: the device cannot run it.
  void launch(Kernel kernel, const Launch& launch, const void* argument) {
    launch_number(static_cast<std::size_t>(kernel), launch, argument);
  }
  void launch(TrainingKernel kernel, const Launch& launch, const void* argument) {
    launch_number(static_cast<std::size_t>(kernel), launch, argument);
  }

 private:
  virtual void launch_number(std::size_t kernel, const Launch& launch, const void* argument) = 0;
};

// A place in the order of what a device does.
class Mark {
 public:
  virtual ~Mark() = default;

  virtual void set() = 0;   // after all that has been called so far
  virtual void wait() = 0;  // until the device has come there
};

// Everything happens in the order of the calls, on one stream. An error of the device may come to
// light in a later call.
class Device {
 public:
  virtual ~Device() = default;

  // As messages call it, such as "NVIDIA H200 (cuda:0)".
  virtual const std::string& name() const = 0;
  // Bytes of shared memory that a block may have.
  virtual std::size_t shared_memory() const = 0;
  // Whether many blocks run at the same time.
  virtual bool is_parallel() const = 0;

  // Aligned to 256 bytes. Throws Error: there is not so much memory.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  virtual void write(void* to, const void* from, std::size_t bytes) = 0;  // from the host
  virtual void read(void* to, const void* from, std::size_t bytes) = 0;   // to the host; waits
  virtual void clear(void* memory, std::size_t bytes) = 0;

  // Memory of the host that stays where it is, so that the device copies to and from it by itself.
  // Throws Error: the system gives no more.
  virtual void* allocate_host(std::size_t bytes) = 0;
  virtual void release_host(void* memory) noexcept = 0;
  // As write and read, with such memory, but they return at once: until a mark behind them is
  // reached, what is sent must not change, and what is fetched is not there.
  virtual void send(void* to, const void* from, std::size_t bytes) = 0;
  virtual void fetch(void* to, const void* from, std::size_t bytes) = 0;
  virtual std::unique_ptr<Mark> make_mark() = 0;

  // Throws Error: it does not compile here, with what the compiler said.
  virtual std::unique_ptr<Program> compile(const ProgramKey& key) = 0;
};

// "cuda" or "cuda:N"; "emulated": the host, for tests. Each is opened once and shared.
// process: number of this process among those of the computer; "cuda" without a number is the cards
// in turn. Throws Error: there is no such device, or it cannot be used, and why.
std::shared_ptr<Device> open_device(const std::string& name, int process = 0);

// Whether the kernels run on a device of this name; others are torch's.
bool is_device(const std::string& name);

std::shared_ptr<Device> open_cuda_device(int number);  // see open_device
int cuda_device_count();                               // throws Error: CUDA is not here
std::shared_ptr<Device> make_host_device();

// An array on a device, which grows and never shrinks. What it holds is lost when it grows.
template <class T>
class Array {
 public:
  explicit Array(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  ~Array() {
    if (data_ != nullptr) device_->release(data_);
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  T* reserve(std::size_t n) {
    if (n > size_) {
      if (data_ != nullptr) device_->release(data_);
      data_ = nullptr;
      size_ = 0;
      data_ = static_cast<T*>(device_->allocate(n * sizeof(T)));
      size_ = n;
    }
    return data_;
  }
  T* reserve_cleared(std::size_t n) {
    reserve(n);
    if (n > 0) device_->clear(data_, n * sizeof(T));
    return data_;
  }
  T* set(const T* values, std::size_t n) {
    reserve(n);
    if (n > 0) device_->write(data_, values, n * sizeof(T));
    return data_;
  }
  void get(T* values, std::size_t n) const {
    if (n > 0) device_->read(values, data_, n * sizeof(T));
  }
  T* data() const { return data_; }

 private:
  std::shared_ptr<Device> device_;
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ekd::device
