// Device kernels for training, applied to tensors on the device.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace ekd {

// Whether operations on this tensor use the device kernels: it is on an NVIDIA GPU and in single or
// double precision; or on the CPU while devices are emulated, for tests. With EKD_DEVICE_OPS=torch
// in the environment, operations of torch are used on GPUs.
bool has_device_kernels(const at::Tensor& tensor);

// All tensors must be on one device and contiguous, with the shapes of the operations; pairs must
// be sorted by center. These conditions are not checked.
// Throws DeviceError: the device cannot be used.

at::Tensor device_message(const at::Tensor& weights, const at::Tensor& features,
                          const at::Tensor& pairs, std::int64_t n_centers);
at::Tensor device_message_weight(const at::Tensor& gradient, const at::Tensor& features,
                                 const at::Tensor& pairs);
at::Tensor device_message_feature(const at::Tensor& gradient, const at::Tensor& weights,
                                  const at::Tensor& pairs, std::int64_t n_neighbors);

at::Tensor device_pair_weights(const at::Tensor& vectors, const at::Tensor& mu,
                               const at::Tensor& sigma, double cutoff, std::int64_t l_max);
// Gradients with respect to vectors, mu and sigma.
std::vector<at::Tensor> device_pair_weights_gradient(const at::Tensor& gradient,
                                                     const at::Tensor& vectors,
                                                     const at::Tensor& mu, const at::Tensor& sigma,
                                                     double cutoff, std::int64_t l_max);
// Gradients with respect to gradient, vectors, mu and sigma, along changes t of the latter three.
std::vector<at::Tensor> device_pair_weights_second_gradient(
    const at::Tensor& gradient, const at::Tensor& vectors, const at::Tensor& mu,
    const at::Tensor& sigma, double cutoff, std::int64_t l_max, const std::vector<at::Tensor>& t);

at::Tensor device_invariants(const at::Tensor& mixed, const at::Tensor& scales,
                             const at::Tensor& base, double cusp);
// Gradients with respect to mixed and scales.
std::vector<at::Tensor> device_invariants_gradient(const at::Tensor& gradient,
                                                   const at::Tensor& mixed,
                                                   const at::Tensor& scales, double cusp);
// Gradients with respect to gradient, mixed and scales, along changes t of the latter two.
std::vector<at::Tensor> device_invariants_second_gradient(const at::Tensor& gradient,
                                                          const at::Tensor& mixed,
                                                          const at::Tensor& scales, double cusp,
                                                          const std::vector<at::Tensor>& t);

}  // namespace ekd
