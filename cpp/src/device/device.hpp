// Interface to an accelerator, or to the host as its emulation: memory and programs.
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

// Options that a program is compiled for. Widths of 0 mean any. The program for training has its
// own kernels, for any components and widths.
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
  int n_threads = 0;  // per block
  std::size_t shared_bytes = 0;
};

class Program {
 public:
  virtual ~Program() = default;

  // `argument` is the argument of the kernel. Asynchronous. Does nothing without blocks.
  // Throws Error: the device cannot run the kernel.
  void launch(Kernel kernel, const Launch& launch, const void* argument) {
    launch_number(static_cast<std::size_t>(kernel), launch, argument);
  }
  void launch(TrainingKernel kernel, const Launch& launch, const void* argument) {
    launch_number(static_cast<std::size_t>(kernel), launch, argument);
  }

 private:
  virtual void launch_number(std::size_t kernel, const Launch& launch, const void* argument) = 0;
};

// An event in the stream of a device.
class Mark {
 public:
  virtual ~Mark() = default;

  virtual void set() = 0;   // recorded after all previous calls
  virtual void wait() = 0;  // until the device has reached it
};

// Everything is executed in the order of the calls, on one stream. An error of the device may be
// reported by a later call.
class Device {
 public:
  virtual ~Device() = default;

  // Name for messages, such as "NVIDIA H200 (cuda:0)".
  virtual const std::string& name() const = 0;
  // Largest shared memory of a block in bytes.
  virtual std::size_t shared_memory() const = 0;
  // Whether many blocks run in parallel.
  virtual bool is_parallel() const = 0;

  // Aligned to 256 bytes. Throws Error: there is not enough memory.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  virtual void write(void* to, const void* from, std::size_t bytes) = 0;  // from the host
  virtual void read(void* to, const void* from, std::size_t bytes) = 0;   // to the host; waits
  virtual void clear(void* memory, std::size_t bytes) = 0;

  // Page-locked host memory, which the device can access directly.
  // Throws Error: the system provides no more.
  virtual void* allocate_host(std::size_t bytes) = 0;
  virtual void release_host(void* memory) noexcept = 0;
  // Like write and read, with such memory, but asynchronous: until a later mark is reached, sent
  // data must not be changed, and fetched data are not available.
  virtual void send(void* to, const void* from, std::size_t bytes) = 0;
  virtual void fetch(void* to, const void* from, std::size_t bytes) = 0;
  virtual std::unique_ptr<Mark> make_mark() = 0;

  // Throws Error: compilation failed, with the message of the compiler.
  virtual std::unique_ptr<Program> compile(const ProgramKey& key) = 0;
};

// "cuda" or "cuda:N"; "emulated": the host, for tests. Each is opened once and shared.
// process: index of this process on its node; "cuda" without a number assigns the GPUs in turn.
// Throws Error: the device does not exist, or cannot be used.
std::shared_ptr<Device> open_device(const std::string& name, int process = 0);

// Whether the kernels run on a device of this name; others are devices of torch.
bool is_device(const std::string& name);

std::shared_ptr<Device> open_cuda_device(int number);  // see open_device
int cuda_device_count();                               // throws Error: no CUDA driver
std::shared_ptr<Device> make_host_device();

// An array on a device, which grows and never shrinks. Growing discards its content.
template <class T>
class Array {
 public:
  explicit Array(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  ~Array() {  // NOLINT(modernize-use-equals-default): its body is not empty
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
