#include "device_memory.hpp"

#include <dlfcn.h>

#include <cstddef>

namespace bench {

DeviceMemory device_memory(const std::string& device) {
  if (device.rfind("cuda", 0) != 0) return {};
  const int number = device.size() > 5 ? std::stoi(device.substr(5)) : 0;
  void* const driver = dlopen("libcuda.so.1", RTLD_NOW);
  if (driver == nullptr) return {};
  const auto retain =
      reinterpret_cast<int (*)(void**, int)>(dlsym(driver, "cuDevicePrimaryCtxRetain"));
  const auto push = reinterpret_cast<int (*)(void*)>(dlsym(driver, "cuCtxPushCurrent_v2"));
  const auto pop = reinterpret_cast<int (*)(void**)>(dlsym(driver, "cuCtxPopCurrent_v2"));
  const auto info =
      reinterpret_cast<int (*)(std::size_t*, std::size_t*)>(dlsym(driver, "cuMemGetInfo_v2"));
  void* context = nullptr;
  if (retain == nullptr || push == nullptr || pop == nullptr || info == nullptr) return {};
  if (retain(&context, number) != 0 || push(context) != 0) return {};
  std::size_t free = 0, total = 0;
  info(&free, &total);
  pop(&context);
  return {static_cast<std::int64_t>(total - free), static_cast<std::int64_t>(total)};
}

}  // namespace bench
