// Check whether a device works by running kernels on it.
#pragma once

#include <cstddef>
#include <string>

namespace ekd {

// Compiles the kernels of ekd for a device, runs some of them and compares with the host.
// device: "cuda", "cuda:N" or "emulated". Returns the name of the device for messages.
// Throws Error: the device does not exist, cannot be used, or gives wrong results.
std::string check_device(const std::string& device);

// Number of GPUs according to the NVIDIA driver. Throws Error: there is no driver.
int count_cuda_devices();

// Version and path of NVRTC, which compiles the kernels. Throws Error: it was not found.
std::string nvrtc_version();

// Compiles the kernels for an architecture, e.g. 90 for sm_90; needs no GPU. Returns their size in
// bytes. components: tensor components, 1, 4 or 9; 0: kernels for training. width, sensitivities:
// sizes of the network; 0: any. Throws Error: NVRTC was not found, or compilation failed.
std::size_t compile_kernels(int architecture, bool single, int components, int width,
                            int sensitivities);

}  // namespace ekd
