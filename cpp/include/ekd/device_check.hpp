// Whether a device works: found out by running something on it.
#pragma once

#include <cstddef>
#include <string>

namespace ekd {

// Compiles the kernels of ekd for a device and runs some of them there, against the host.
// device: "cuda", "cuda:N" or "emulated". Returns what messages call it.
// Throws Error: there is no such device, it cannot be used, or its results are wrong.
std::string check_device(const std::string& device);

// GPUs that the NVIDIA driver finds. Throws Error: there is no driver.
int count_cuda_devices();

// Version and place of NVRTC, which compiles the kernels. Throws Error: it was not found.
std::string nvrtc_version();

// Compiles the kernels for an architecture, 90 for sm_90, without a GPU. Returns their size in
// bytes. components: of the tensors, 1, 4 or 9; 0: the kernels of training. width, sensitivities:
// of the network; 0: any. Throws Error: NVRTC was not found, or it does not compile them.
std::size_t compile_kernels(int architecture, bool single, int components, int width,
                            int sensitivities);

}  // namespace ekd
