// The two NVIDIA libraries that are needed, loaded at run time: the driver, and NVRTC, the runtime
// compiler. CUDA is not needed to build ekd.
#pragma once

#include <cstddef>
#include <string>

#include "device.hpp"

namespace ekd::device {

// The part of the driver API (libcuda.so.1) in use, declared as in its documentation.
struct CudaDriver {
  using Result = int;
  using Device = int;
  using Context = struct CUctx_st*;
  using Module = struct CUmod_st*;
  using Function = struct CUfunc_st*;
  using Stream = struct CUstream_st*;
  using Event = struct CUevent_st*;
  using Pointer = unsigned long long;

  Result (*cuInit)(unsigned);
  Result (*cuDeviceGetCount)(int*);
  Result (*cuDeviceGet)(Device*, int);
  Result (*cuDeviceGetName)(char*, int, Device);
  Result (*cuDeviceGetAttribute)(int*, int, Device);
  Result (*cuDevicePrimaryCtxRetain)(Context*, Device);
  Result (*cuCtxPushCurrent_v2)(Context);
  Result (*cuCtxPopCurrent_v2)(Context*);
  Result (*cuMemAlloc_v2)(Pointer*, std::size_t);
  Result (*cuMemFree_v2)(Pointer);
  Result (*cuMemcpyHtoD_v2)(Pointer, const void*, std::size_t);
  Result (*cuMemcpyDtoH_v2)(void*, Pointer, std::size_t);
  Result (*cuMemAllocHost_v2)(void**, std::size_t);
  Result (*cuMemFreeHost)(void*);
  Result (*cuMemcpyHtoDAsync_v2)(Pointer, const void*, std::size_t, Stream);
  Result (*cuMemcpyDtoHAsync_v2)(void*, Pointer, std::size_t, Stream);
  Result (*cuEventCreate)(Event*, unsigned);
  Result (*cuEventRecord)(Event, Stream);
  Result (*cuEventSynchronize)(Event);
  Result (*cuEventDestroy_v2)(Event);
  Result (*cuMemsetD8Async)(Pointer, unsigned char, std::size_t, Stream);
  Result (*cuModuleLoadData)(Module*, const void*);
  Result (*cuModuleUnload)(Module);
  Result (*cuModuleGetFunction)(Function*, Module, const char*);
  Result (*cuFuncSetAttribute)(Function, int, int);
  Result (*cuLaunchKernel)(Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                           unsigned, Stream, void**, void**);
  Result (*cuGetErrorString)(Result, const char**);

  // Values of its enumerations.
  static constexpr int kMajor = 75, kMinor = 76;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
  static constexpr int kSharedMemory = 97;        // ..._MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
  static constexpr int kDynamicShared = 8;        // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
  static constexpr int kOutOfMemory = 2;          // CUDA_ERROR_OUT_OF_MEMORY
  static constexpr unsigned kWithoutTiming = 2;   // CU_EVENT_DISABLE_TIMING

  // Loaded once. Throws Error: there is no driver.
  static const CudaDriver& get();
  // Throws Error with the message of the driver if the result is not success.
  void check(Result result, const std::string& what) const;
};

// Compiles kernels of ekd. architecture: 90 for sm_90. Returns input for cuModuleLoadData.
// Throws DeviceError: NVRTC was not found, or compilation failed (with the log).
std::string compile_for_cuda(int architecture, const ProgramKey& key);

// The version of NVRTC, such as "13.0", and its path. Throws Error: it was not found.
std::string nvrtc_version();

}  // namespace ekd::device
