// NVIDIA GPUs with the driver API, in the primary context, which torch and KOKKOS also use.
#include <cstring>
#include <vector>

#include "cuda_library.hpp"
#include "device.hpp"
#include "ekd/error.hpp"

namespace ekd::device {
namespace {

using Cuda = CudaDriver;

// Makes a context current in this thread during its lifetime.
class Current {
 public:
  Current(const Cuda& cuda, Cuda::Context context) : cuda_(cuda) {
    cuda.check(cuda.cuCtxPushCurrent_v2(context), "device cuda");
  }
  ~Current() {
    Cuda::Context ignored;
    cuda_.cuCtxPopCurrent_v2(&ignored);
  }
  Current(const Current&) = delete;

 private:
  const Cuda& cuda_;
};

class CudaProgram final : public Program {
 public:
  CudaProgram(const Cuda& cuda, Cuda::Context context, const std::string& device,
              const std::string& binary, std::size_t shared_memory, bool training)
      : cuda_(cuda), context_(context), device_(device) {
    const Current current(cuda, context);
    cuda.check(cuda.cuModuleLoadData(&module_, binary.data()), device + ": loading the kernels");
#define EKD_FUNCTION_NAME(name, Argument, call) "ekd_" #name,
    const std::vector<const char*> of_inference{EKD_EACH_KERNEL(EKD_FUNCTION_NAME)};
    const std::vector<const char*> of_training{EKD_EACH_TRAINING_KERNEL(EKD_FUNCTION_NAME)};
#undef EKD_FUNCTION_NAME
    const std::vector<const char*>& names = training ? of_training : of_inference;
    functions_.resize(names.size());
    for (std::size_t k = 0; k < names.size(); ++k) {
      cuda.check(cuda.cuModuleGetFunction(&functions_[k], module_, names[k]),
                 device + ": loading the kernel " + names[k]);
      cuda.check(cuda.cuFuncSetAttribute(functions_[k], Cuda::kDynamicShared,
                                         static_cast<int>(shared_memory)),
                 device + ": shared memory of the kernel " + names[k]);
    }
  }
  ~CudaProgram() override {
    Cuda::Context ignored;
    if (cuda_.cuCtxPushCurrent_v2(context_) != 0) return;
    cuda_.cuModuleUnload(module_);
    cuda_.cuCtxPopCurrent_v2(&ignored);
  }

 private:
  void launch_number(std::size_t kernel, const Launch& launch, const void* argument) override {
    if (launch.n_blocks == 0) return;
    const Current current(cuda_, context_);
    void* arguments[] = {const_cast<void*>(argument)};
    cuda_.check(cuda_.cuLaunchKernel(functions_[kernel], static_cast<unsigned>(launch.n_blocks), 1,
                                     1, static_cast<unsigned>(launch.n_threads), 1, 1,
                                     static_cast<unsigned>(launch.shared_bytes), nullptr, arguments,
                                     nullptr),
                device_);
  }

  const Cuda& cuda_;
  Cuda::Context context_;
  std::string device_;
  Cuda::Module module_ = nullptr;
  std::vector<Cuda::Function> functions_;
};

class CudaMark final : public Mark {
 public:
  CudaMark(const Cuda& cuda, Cuda::Context context, const std::string& device)
      : cuda_(cuda), context_(context), device_(device) {
    const Current current(cuda, context);
    cuda.check(cuda.cuEventCreate(&event_, Cuda::kWithoutTiming), device);
  }
  ~CudaMark() override {
    Cuda::Context ignored;
    if (cuda_.cuCtxPushCurrent_v2(context_) != 0) return;
    cuda_.cuEventDestroy_v2(event_);
    cuda_.cuCtxPopCurrent_v2(&ignored);
  }
  void set() override {
    const Current current(cuda_, context_);
    cuda_.check(cuda_.cuEventRecord(event_, nullptr), device_);
  }
  void wait() override {
    const Current current(cuda_, context_);
    cuda_.check(cuda_.cuEventSynchronize(event_), device_);
  }

 private:
  const Cuda& cuda_;
  Cuda::Context context_;
  std::string device_;
  Cuda::Event event_ = nullptr;
};

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int number) : cuda_(Cuda::get()) {
    const std::string named = "device cuda:" + std::to_string(number);
    Cuda::Device device;
    cuda_.check(cuda_.cuDeviceGet(&device, number), named);
    char text[256] = "";
    cuda_.check(cuda_.cuDeviceGetName(text, sizeof(text), device), named);
    name_ = std::string(text) + " (cuda:" + std::to_string(number) + ")";
    int major = 0, minor = 0, shared = 0;
    cuda_.check(cuda_.cuDeviceGetAttribute(&major, Cuda::kMajor, device), named);
    cuda_.check(cuda_.cuDeviceGetAttribute(&minor, Cuda::kMinor, device), named);
    cuda_.check(cuda_.cuDeviceGetAttribute(&shared, Cuda::kSharedMemory, device), named);
    architecture_ = 10 * major + minor;
    shared_memory_ = static_cast<std::size_t>(shared);
    // Never released, because other users of the GPU have the same context.
    cuda_.check(cuda_.cuDevicePrimaryCtxRetain(&context_, device), named);
  }

  const std::string& name() const override { return name_; }
  std::size_t shared_memory() const override { return shared_memory_; }
  bool is_parallel() const override { return true; }

  void* allocate(std::size_t bytes) override {
    if (bytes == 0) return nullptr;
    const Current current(cuda_, context_);
    Cuda::Pointer pointer = 0;
    const int result = cuda_.cuMemAlloc_v2(&pointer, bytes);
    if (result == Cuda::kOutOfMemory)
      throw DeviceMemoryError(name_ + " has no memory for " + std::to_string(bytes >> 20) +
                              " MiB more; use a smaller 'block', fewer processes for each GPU, or "
                              "more GPUs [EKD-DEVICE-009]");
    cuda_.check(result, name_);
    return reinterpret_cast<void*>(pointer);
  }
  void release(void* memory) noexcept override {
    Cuda::Context ignored;
    if (cuda_.cuCtxPushCurrent_v2(context_) != 0) return;  // the driver is shutting down
    cuda_.cuMemFree_v2(reinterpret_cast<Cuda::Pointer>(memory));
    cuda_.cuCtxPopCurrent_v2(&ignored);
  }
  void write(void* to, const void* from, std::size_t bytes) override {
    const Current current(cuda_, context_);
    cuda_.check(cuda_.cuMemcpyHtoD_v2(reinterpret_cast<Cuda::Pointer>(to), from, bytes), name_);
  }
  void read(void* to, const void* from, std::size_t bytes) override {
    const Current current(cuda_, context_);
    cuda_.check(cuda_.cuMemcpyDtoH_v2(to, reinterpret_cast<Cuda::Pointer>(from), bytes), name_);
  }
  void clear(void* memory, std::size_t bytes) override {
    const Current current(cuda_, context_);
    cuda_.check(cuda_.cuMemsetD8Async(reinterpret_cast<Cuda::Pointer>(memory), 0, bytes, nullptr),
                name_);
  }

  void* allocate_host(std::size_t bytes) override {
    const Current current(cuda_, context_);
    void* memory = nullptr;
    const int result = cuda_.cuMemAllocHost_v2(&memory, bytes);
    if (result == Cuda::kOutOfMemory)
      throw DeviceError("there are no " + std::to_string(bytes >> 20) +
                        " MiB of page-locked memory for transfers to " + name_ +
                        "; raise the limit (ulimit -l), or free memory [EKD-DEVICE-017]");
    cuda_.check(result, name_);
    return memory;
  }
  void release_host(void* memory) noexcept override {
    Cuda::Context ignored;
    if (cuda_.cuCtxPushCurrent_v2(context_) != 0) return;
    cuda_.cuMemFreeHost(memory);
    cuda_.cuCtxPopCurrent_v2(&ignored);
  }
  void send(void* to, const void* from, std::size_t bytes) override {
    const Current current(cuda_, context_);
    cuda_.check(
        cuda_.cuMemcpyHtoDAsync_v2(reinterpret_cast<Cuda::Pointer>(to), from, bytes, nullptr),
        name_);
  }
  void fetch(void* to, const void* from, std::size_t bytes) override {
    const Current current(cuda_, context_);
    cuda_.check(
        cuda_.cuMemcpyDtoHAsync_v2(to, reinterpret_cast<Cuda::Pointer>(from), bytes, nullptr),
        name_);
  }
  std::unique_ptr<Mark> make_mark() override {
    return std::make_unique<CudaMark>(cuda_, context_, name_);
  }

  std::unique_ptr<Program> compile(const ProgramKey& key) override {
    const std::string binary = compile_for_cuda(architecture_, key);
    return std::make_unique<CudaProgram>(cuda_, context_, name_, binary, shared_memory_,
                                         key.training);
  }

 private:
  const Cuda& cuda_;
  Cuda::Context context_ = nullptr;
  std::string name_;
  int architecture_ = 0;
  std::size_t shared_memory_ = 0;
};

}  // namespace

int cuda_device_count() {
  const Cuda& cuda = Cuda::get();
  int count = 0;
  cuda.check(cuda.cuDeviceGetCount(&count), "device cuda");
  return count;
}

std::shared_ptr<Device> open_cuda_device(int number) {
  return std::make_shared<CudaDevice>(number);
}

}  // namespace ekd::device
