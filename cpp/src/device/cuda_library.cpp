#include "cuda_library.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <vector>

#include "ekd/error.hpp"
#include "kernel_cache.hpp"
#include "sources.hpp"

namespace ekd::device {
namespace {

// Places to search for NVRTC: names for the dynamic linker, then folders of the CUDA toolkit and of
// NVIDIA's wheels relative to this library, because LAMMPS has no Python search path.
std::vector<std::string> places_of_nvrtc() {
  std::vector<std::string> places;
  if (const char* named = std::getenv("EKD_NVRTC"); named != nullptr && *named != '\0')
    return {named};
  const std::vector<std::string> names{"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
  places = names;
  std::vector<std::string> folders;
  Dl_info here;
  if (dladdr(reinterpret_cast<const void*>(&places_of_nvrtc), &here) != 0 &&
      here.dli_fname != nullptr) {
    std::error_code ignored;
    std::filesystem::path folder = std::filesystem::absolute(here.dli_fname, ignored).parent_path();
    // site-packages/ekd, or site-packages/ekd/lib
    for (int level = 0; level < 3 && folder.has_parent_path(); ++level) {
      folders.push_back((folder / "nvidia/cu13/lib").string());
      folders.push_back((folder / "nvidia/cuda_nvrtc/lib").string());
      folder = folder.parent_path();
    }
  }
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char* toolkit = std::getenv(variable))
      folders.push_back(std::string(toolkit) + "/lib64");
  folders.emplace_back("/usr/local/cuda/lib64");
  for (const std::string& folder : folders)
    for (const std::string& name : names) places.push_back(folder + "/" + name);
  return places;
}

// NVRTC opens libnvrtc-builtins.so by name when it compiles, and does not search its own folder. It
// finds the library if it is already loaded.
void load_builtins(const std::filesystem::path& nvrtc) {
  if (!nvrtc.has_parent_path()) return;  // the linker finds both
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(nvrtc.parent_path(), ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("libnvrtc-builtins.so.", 0) == 0)
      dlopen(entry.path().c_str(), RTLD_NOW | RTLD_GLOBAL);
  }
}

struct Nvrtc {
  using Program = struct NvrtcProgram*;
  int (*nvrtcVersion)(int*, int*);
  int (*nvrtcCreateProgram)(Program*, const char*, const char*, int, const char* const*,
                            const char* const*);
  int (*nvrtcCompileProgram)(Program, int, const char* const*);
  int (*nvrtcGetProgramLogSize)(Program, std::size_t*);
  int (*nvrtcGetProgramLog)(Program, char*);
  int (*nvrtcGetCUBINSize)(Program, std::size_t*);
  int (*nvrtcGetCUBIN)(Program, char*);
  int (*nvrtcDestroyProgram)(Program*);
  const char* (*nvrtcGetErrorString)(int);
  std::string place;

  static const Nvrtc& get();
};

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr)
    throw DeviceError(std::string("a library of CUDA has no function ") + name +
                      ": it is too old; ekd needs CUDA 12 or newer [EKD-DEVICE-005]");
}
#define EKD_FIND(name) find(library, #name, found.name)

const Nvrtc& Nvrtc::get() {
  static const Nvrtc nvrtc = [] {
    void* library = nullptr;
    Nvrtc found{};
    for (const std::string& place : places_of_nvrtc()) {
      load_builtins(place);
      library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (library == nullptr) continue;
      found.place = place;
      break;
    }
    if (library == nullptr)
      throw DeviceError(
          "NVRTC, the compiler of CUDA at run time, was not found: install a CUDA toolkit or 'pip "
          "install nvidia-cuda-nvrtc', or name libnvrtc.so in the environment variable EKD_NVRTC "
          "[EKD-DEVICE-006]");
    EKD_FIND(nvrtcVersion);
    EKD_FIND(nvrtcCreateProgram);
    EKD_FIND(nvrtcCompileProgram);
    EKD_FIND(nvrtcGetProgramLogSize);
    EKD_FIND(nvrtcGetProgramLog);
    EKD_FIND(nvrtcGetCUBINSize);
    EKD_FIND(nvrtcGetCUBIN);
    EKD_FIND(nvrtcDestroyProgram);
    EKD_FIND(nvrtcGetErrorString);
    return found;
  }();
  return nvrtc;
}

void check(const Nvrtc& nvrtc, int result, const char* what) {
  if (result != 0)
    throw DeviceError(std::string(what) + ": NVRTC says '" + nvrtc.nvrtcGetErrorString(result) +
                      "' [EKD-DEVICE-007]");
}

}  // namespace

const CudaDriver& CudaDriver::get() {
  static const CudaDriver driver = [] {
    void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (library == nullptr)
      throw DeviceError(
          "device cuda: there is no NVIDIA driver here (libcuda.so.1 was not found); use device "
          "cpu, or a computer with a GPU [EKD-DEVICE-004]");
    CudaDriver found{};
    EKD_FIND(cuInit);
    EKD_FIND(cuDeviceGetCount);
    EKD_FIND(cuDeviceGet);
    EKD_FIND(cuDeviceGetName);
    EKD_FIND(cuDeviceGetAttribute);
    EKD_FIND(cuDevicePrimaryCtxRetain);
    EKD_FIND(cuCtxPushCurrent_v2);
    EKD_FIND(cuCtxPopCurrent_v2);
    EKD_FIND(cuMemAlloc_v2);
    EKD_FIND(cuMemFree_v2);
    EKD_FIND(cuMemcpyHtoD_v2);
    EKD_FIND(cuMemcpyDtoH_v2);
    EKD_FIND(cuMemAllocHost_v2);
    EKD_FIND(cuMemFreeHost);
    EKD_FIND(cuMemcpyHtoDAsync_v2);
    EKD_FIND(cuMemcpyDtoHAsync_v2);
    EKD_FIND(cuEventCreate);
    EKD_FIND(cuEventRecord);
    EKD_FIND(cuEventSynchronize);
    EKD_FIND(cuEventDestroy_v2);
    EKD_FIND(cuMemsetD8Async);
    EKD_FIND(cuModuleLoadData);
    EKD_FIND(cuModuleUnload);
    EKD_FIND(cuModuleGetFunction);
    EKD_FIND(cuFuncSetAttribute);
    EKD_FIND(cuLaunchKernel);
    EKD_FIND(cuGetErrorString);
    found.check(found.cuInit(0), "device cuda");
    return found;
  }();
  return driver;
}

void CudaDriver::check(Result result, const std::string& what) const {
  if (result == 0) return;
  const char* words = nullptr;
  cuGetErrorString(result, &words);
  throw DeviceError(what + ": CUDA says '" + (words == nullptr ? "unknown error" : words) +
                    "' (error " + std::to_string(result) + ") [EKD-DEVICE-008]");
}

std::string compile_for_cuda(int architecture, const ProgramKey& key) {
  const Nvrtc& nvrtc = Nvrtc::get();
  const Source& main = key.training ? kTrainingProgram : kProgram;
  std::vector<std::string> options{"--gpu-architecture=sm_" + std::to_string(architecture),
                                   "--std=c++17",
                                   std::string("-DEKD_REAL=") + (key.single ? "float" : "double")};
  const auto define = [&](const char* name, int value) {
    if (value > 0) options.push_back("-D" + std::string(name) + "=" + std::to_string(value));
  };
  if (!key.training) {
    define("EKD_COMPONENTS", key.components);
    define("EKD_WIDTH", key.width);
    define("EKD_SENSITIVITIES", key.sensitivities);
    define("EKD_SENSITIVITY_WIDTH", key.sensitivity_width);
  }
  // All inputs that the result depends on.
  std::string inputs = nvrtc_version();
  for (const std::string& option : options) inputs += " " + option;
  for (const Source& source : kHeaders) inputs += source.text;
  inputs += main.text;
  if (std::optional<std::string> kept = find_kept_program(inputs)) return *kept;
  std::vector<const char*> words;
  words.reserve(options.size());
  for (const std::string& option : options) words.push_back(option.c_str());
  std::vector<const char*> texts, names;
  for (const Source& source : kHeaders) {
    texts.push_back(source.text);
    names.push_back(source.name);
  }
  Nvrtc::Program program = nullptr;
  check(nvrtc,
        nvrtc.nvrtcCreateProgram(&program, main.text, main.name, static_cast<int>(texts.size()),
                                 texts.data(), names.data()),
        "the kernels of ekd");
  const struct Closing {
    const Nvrtc& nvrtc;
    Nvrtc::Program& program;
    ~Closing() { nvrtc.nvrtcDestroyProgram(&program); }
  } closing{nvrtc, program};
  const int result =
      nvrtc.nvrtcCompileProgram(program, static_cast<int>(words.size()), words.data());
  if (result != 0) {
    std::size_t size = 0;
    nvrtc.nvrtcGetProgramLogSize(program, &size);
    std::string log(size, '\0');
    if (size > 0) nvrtc.nvrtcGetProgramLog(program, log.data());
    throw DeviceError("the kernels of ekd do not compile for sm_" + std::to_string(architecture) +
                      " with NVRTC " + nvrtc_version() + " ('" + nvrtc.nvrtcGetErrorString(result) +
                      "'): " + log + " [EKD-DEVICE-007]");
  }
  std::size_t size = 0;
  check(nvrtc, nvrtc.nvrtcGetCUBINSize(program, &size), "the kernels of ekd");
  std::string binary(size, '\0');
  check(nvrtc, nvrtc.nvrtcGetCUBIN(program, binary.data()), "the kernels of ekd");
  keep_program(inputs, binary);
  return binary;
}

std::string nvrtc_version() {
  const Nvrtc& nvrtc = Nvrtc::get();
  int major = 0, minor = 0;
  check(nvrtc, nvrtc.nvrtcVersion(&major, &minor), "NVRTC");
  return std::to_string(major) + "." + std::to_string(minor) + " (" + nvrtc.place + ")";
}

}  // namespace ekd::device
