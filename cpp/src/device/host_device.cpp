// Host emulation: the device kernels, run on the CPU.
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <string>

#include "device.hpp"
#include "ekd/error.hpp"

namespace ekd::device {
namespace {

// Pending copies. They are made as late as on any device, so that tests find missing waits.
class Copies {
 public:
  void add(void* to, const void* from, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({to, from, bytes});
  }
  void make() {
    const std::lock_guard lock(mutex_);
    for (const Copy& copy : waiting_) std::memcpy(copy.to, copy.from, copy.bytes);
    waiting_.clear();
  }

 private:
  struct Copy {
    void* to;
    const void* from;
    std::size_t bytes;
  };
  std::mutex mutex_;
  std::vector<Copy> waiting_;
};

class HostMark final : public Mark {
 public:
  explicit HostMark(std::shared_ptr<Copies> copies) : copies_(std::move(copies)) {}
  void set() override {}
  void wait() override { copies_->make(); }

 private:
  std::shared_ptr<Copies> copies_;
};

class HostProgram : public Program {
 public:
  explicit HostProgram(std::shared_ptr<Copies> copies) : copies_(std::move(copies)) {}

 private:
  void launch_number(std::size_t kernel, const Launch& launch, const void* argument) override {
    copies_->make();
    // Elements of 16 bytes, for the alignment of a device.
    shared_.resize((launch.shared_bytes + sizeof(Four<float>) - 1) / sizeof(Four<float>));
    for (int index = 0; index < launch.n_blocks; ++index) {
      const Block block{index, launch.n_threads, reinterpret_cast<unsigned char*>(shared_.data())};
      run(kernel, block, argument);
    }
  }

  virtual void run(std::size_t kernel, const Block& block, const void* argument) const = 0;

  std::shared_ptr<Copies> copies_;
  std::vector<Four<float>> shared_;
};

#define EKD_RUN(name, Argument, call)                        \
  case Kernels::name: {                                      \
    const auto& a = *static_cast<const Argument*>(argument); \
    call;                                                    \
    return;                                                  \
  }

template <class T, int C>
class InferenceProgram final : public HostProgram {
  using HostProgram::HostProgram;
  using Kernels = Kernel;
  void run(std::size_t kernel, const Block& block, const void* argument) const override {
    switch (static_cast<Kernel>(kernel)) { EKD_EACH_KERNEL(EKD_RUN) }
  }
};

template <class T>
class TrainingProgram final : public HostProgram {
  using HostProgram::HostProgram;
  using Kernels = TrainingKernel;
  void run(std::size_t kernel, const Block& block, const void* argument) const override {
    switch (static_cast<TrainingKernel>(kernel)) { EKD_EACH_TRAINING_KERNEL(EKD_RUN) }
  }
};
#undef EKD_RUN

class HostDevice final : public Device {
 public:
  const std::string& name() const override { return name_; }
  // Half of that of a GPU, so that tests cover networks that do not fit.
  std::size_t shared_memory() const override { return 96 << 10; }
  bool is_parallel() const override { return false; }

  void* allocate(std::size_t bytes) override {
    const std::size_t size = (bytes + 255) / 256 * 256;
    const std::size_t limit = memory_limit();
    const std::lock_guard lock(mutex_);
    if (limit > 0 && used_ + size > limit)
      throw DeviceMemoryError(name_ + " has no memory for " + std::to_string(bytes >> 10) +
                              " KiB more; use a smaller 'block' [EKD-DEVICE-009]");
    void* const memory = std::aligned_alloc(256, size);
    if (memory == nullptr && bytes > 0) throw std::bad_alloc();
    if (memory != nullptr) {
      sizes_[memory] = size;
      used_ += size;
    }
    return memory;
  }
  void release(void* memory) noexcept override {
    copies_->make();
    const std::lock_guard lock(mutex_);
    if (const auto found = sizes_.find(memory); found != sizes_.end()) {
      used_ -= found->second;
      sizes_.erase(found);
    }
    std::free(memory);
  }
  void write(void* to, const void* from, std::size_t bytes) override {
    copies_->make();
    std::memcpy(to, from, bytes);
  }
  void read(void* to, const void* from, std::size_t bytes) override {
    copies_->make();
    std::memcpy(to, from, bytes);
  }
  void clear(void* memory, std::size_t bytes) override {
    copies_->make();
    std::memset(memory, 0, bytes);
  }

  void* allocate_host(std::size_t bytes) override { return allocate(bytes); }
  void release_host(void* memory) noexcept override { release(memory); }
  void send(void* to, const void* from, std::size_t bytes) override {
    copies_->add(to, from, bytes);
  }
  void fetch(void* to, const void* from, std::size_t bytes) override {
    copies_->add(to, from, bytes);
  }
  std::unique_ptr<Mark> make_mark() override { return std::make_unique<HostMark>(copies_); }

  std::unique_ptr<Program> compile(const ProgramKey& key) override {
    return key.single ? compile_for<float>(key) : compile_for<double>(key);
  }

 private:
  template <class T>
  std::unique_ptr<Program> compile_for(const ProgramKey& key) const {
    if (key.training) return std::make_unique<TrainingProgram<T>>(copies_);
    if (key.components == 1) return std::make_unique<InferenceProgram<T, 1>>(copies_);
    if (key.components == 4) return std::make_unique<InferenceProgram<T, 4>>(copies_);
    return std::make_unique<InferenceProgram<T, 9>>(copies_);
  }

  // EKD_EMULATED_MEMORY in the environment sets the memory in bytes, so that tests cover
  // calculations that do not fit.
  static std::size_t memory_limit() {
    const char* const text = std::getenv("EKD_EMULATED_MEMORY");
    return text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
  }

  std::shared_ptr<Copies> copies_ = std::make_shared<Copies>();

  std::string name_ = "the host (emulated)";
  std::mutex mutex_;
  std::map<void*, std::size_t> sizes_;  // of each array
  std::size_t used_ = 0;                // by all arrays
};

}  // namespace

std::shared_ptr<Device> make_host_device() { return std::make_shared<HostDevice>(); }

}  // namespace ekd::device
